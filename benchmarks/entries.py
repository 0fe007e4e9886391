"""The rows of the table of results: commands, what is measured of them, and what is reached without a network."""

from benchmarks.entry import Entry
from benchmarks.lecture import APPLICATIONS


def long_memory(name: str, arguments: str) -> Entry:
    """A row of a synthetic task, with its metric and what chance reaches."""
    metric, baseline = {
        "adding": ("mean_squared_error", "0.167 (chance)"),
        "copy": ("loss", "0.297 (chance)"),
        "order": ("accuracy", "0.25 (chance)"),
        "pixels": ("accuracy", "0.1 (chance)"),
    }[name.split("-")[0]]
    return Entry(name, arguments, metric, baseline)


ROWS = "pixels --config.reading=rows --config.data.name=mnist5k --config.cell="
ENTRIES = (
    *(
        long_memory(f"adding-{cell}", f"adding --config.cell={cell}")
        for cell in ("rnn", "identity", "lstm", "gru")
    ),
    long_memory("adding-rnn-half", "adding --config.cell=rnn --config.recurrent_scale=0.5"),
    long_memory("adding-rnn-gaussian", "adding --config.cell=rnn --config.recurrent_init=gaussian"),
    long_memory("adding-clipping", "adding --preset=clipping"),
    long_memory("adding-clipping-10", "adding --preset=clipping --config.optimizer.clip_norm=10"),
    long_memory(
        "adding-clipping-rnn", "adding --preset=clipping --config.cell=rnn --config.input_deviation=none"
    ),
    *(
        long_memory(f"order-{cell}", f"temporal_order --config.cell={cell}")
        for cell in ("rnn", "identity", "lstm", "gru")
    ),
    long_memory("order-rnn-half", "temporal_order --config.cell=rnn --config.recurrent_scale=0.5"),
    *(
        long_memory(f"order-rnn-{remedy}", f"temporal_order --config.cell=rnn --config.remedy={remedy}")
        for remedy in ("omega", "flossing")
    ),
    long_memory("order-100-rnn", "temporal_order --config.length=100 --config.cell=rnn"),
    *(
        long_memory(
            f"order-100-{remedy}",
            f"temporal_order --config.length=100 --config.cell=rnn --config.remedy={remedy}",
        )
        for remedy in ("omega", "flossing")
    ),
    long_memory("copy-lstm", "copy_memory"),
    long_memory("copy-lstm-forget", "copy_memory --config.forget_bias=3.912"),
    long_memory("copy-lstm-chrono", "copy_memory --config.chrono=70"),
    long_memory("copy-gru", "copy_memory --config.cell=gru"),
    *(long_memory(f"pixels-rows-{cell}", f"{ROWS}{cell}") for cell in ("rnn", "identity", "lstm", "gru")),
    *(entry for application in APPLICATIONS for entry in application.entries),
)
