from .alignment import ctc as ctc
from .concordance import concordance as concordance
from .sequences import sequences as sequences
from .sigmoid import binary as binary
from .sigmoid import multi_label as multi_label
from .softmax import classification as classification
from .squares import regression as regression
from .waveforms import si_sdr as si_sdr
