from .libraries import from_flax as from_flax
from .libraries import from_haiku as from_haiku
from .libraries import from_keras as from_keras
from .libraries import from_torch as from_torch
from .libraries import to_flax as to_flax
from .libraries import to_haiku as to_haiku
from .libraries import to_keras as to_keras
from .libraries import to_torch as to_torch
