from . import callbacks as callbacks
from . import losses as losses
from . import metrics as metrics
from . import optimizers as optimizers
