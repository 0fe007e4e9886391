from . import cliff as cliff
from . import wide_range as wide_range
