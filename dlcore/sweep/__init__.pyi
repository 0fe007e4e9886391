from .execute import run as run
from .plan import Group as Group
from .plan import SharedInputs as SharedInputs
from .plan import Sweep as Sweep
from .table import Table as Table
