from . import losses as losses
from . import metrics as metrics
