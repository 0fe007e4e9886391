from .alignment import ctc as ctc
from .sigmoid import binary as binary
from .sigmoid import multi_label as multi_label
from .softmax import classification as classification
from .squares import regression as regression
