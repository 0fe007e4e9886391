from .by_path import by_path as by_path
from .decay import is_decayed as is_decayed
from .rules import make_rule as make_rule
from .schedules import make_schedule as make_schedule
