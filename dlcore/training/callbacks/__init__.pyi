from .callback import Callback as Callback
from .callback import Start as Start
from .callback import Stop as Stop
from .early_stopping import EarlyStopping as EarlyStopping
from .mlflow_logger import MLflowLogger as MLflowLogger
from .run_callbacks import CallbackError as CallbackError
from .wandb_logger import WandbLogger as WandbLogger
