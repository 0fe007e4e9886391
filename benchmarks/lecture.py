"""The lecture's map: what convolutional and recurrent networks are for, and the experiment that shows each."""

from benchmarks.application import MANY_TO_MANY, MANY_TO_ONE, ONE, ONE_TO_MANY, SYNCED, Application, variants
from benchmarks.entry import Entry

CC_BY, SVC = "CC BY 4.0", "0.970 (SVC)"
TAGGING_ERRORS = (("phone_error_rate", "0.094"), ("word_error_rate", "0.410"))
APPLICATIONS = (
    Application(
        ONE,
        "Which digit is in an image?",
        "UCI's handwritten digits; the second half, by other writers, is the test part",
        CC_BY,
        (
            Entry("digits", "digits", baseline=SVC, figure="worst_mistakes"),
            Entry("digits-mnist5k", "digits --config.data.name=mnist5k", baseline="0.959 (SVC)"),
        ),
        "0.1",
    ),
    Application(
        MANY_TO_ONE,
        "Who speaks?",
        "Japanese vowels of nine speakers (UCI); official split",
        CC_BY,
        (
            Entry(
                "vowels", "vowels", baseline="0.949 (1-NN, dynamic time warping)", figure="accuracy_by_length"
            ),
            *variants("vowels", "direction", ("forward", "backward"), "0.949 (1-NN)"),
            *variants("vowels", "cell", ("lstm", "rnn"), "0.949 (1-NN)"),
            *variants("vowels", "model", ("convolution",), "0.949 (1-NN)"),
        ),
        "0.24",
    ),
    Application(
        MANY_TO_ONE,
        "Is a sentence positive?",
        "10,568 sentences of film reviews, rated by 20 people each; a random fifth is the test part",
        "MIT",
        (
            Entry("sentiment", "sentiment", baseline="0.793 (TF-IDF, logistic regression)", figure="words"),
            *variants("sentiment", "architecture", ("lstm", "gru"), "0.793 (TF-IDF)"),
            Entry("sentiment-characters", "sentiment --config.unit=characters", baseline="0.793 (TF-IDF)"),
        ),
        "0.5",
    ),
    Application(
        MANY_TO_ONE,
        "Which digit, pixel by pixel?",
        "UCI's digits, 64 steps of one pixel; the second half is the test part",
        CC_BY,
        (
            Entry("pixels-gru", "pixels --config.cell=gru", baseline=SVC, figure="confusion_matrix"),
            Entry("pixels-lstm", "pixels --config.cell=lstm --config.chrono=64", baseline=SVC),
            *variants("pixels", "cell", ("rnn", "residual", "peephole", "projected"), SVC),
            Entry(
                "pixels-identity", "pixels --config.cell=identity --config.input_deviation=0.1", baseline=SVC
            ),
            Entry("pixels-convolution", "pixels --config.model=convolution", baseline=SVC),
            Entry("pixels-permuted-gru", "pixels --config.cell=gru --config.permuted=true", baseline=SVC),
            Entry(
                "pixels-permuted-lstm",
                "pixels --config.cell=lstm --config.chrono=64 --config.permuted=true",
                baseline=SVC,
            ),
            Entry(
                "pixels-permuted-convolution",
                "pixels --config.model=convolution --config.permuted=true",
                baseline=SVC,
            ),
        ),
        "0.1",
    ),
    Application(
        MANY_TO_ONE,
        "Which digit moves in a clip?",
        "UCI's digits in a synthetic motion, on film that loses 30 % of its pixels; test digits in test clips",
        CC_BY,
        (
            Entry("video", "video", baseline="0.107 (most frequent digit)", figure="film"),
            *variants("video", "reader", ("conv_lstm", "mean", "frame"), "0.107 (most frequent digit)"),
        ),
        "0.1",
    ),
    Application(
        ONE_TO_MANY,
        "Which digits are in an image?",
        "UCI's digits, one to four in a synthetic arrangement; test digits in test images",
        CC_BY,
        (
            Entry(
                "caption",
                "caption",
                metric="exact_match",
                baseline="0.03 (most frequent caption)",
                others=(("word_error_rate", ""),),
                figure="attention_0",
            ),
            Entry(
                "caption-without-attention",
                "caption --config.attention=false",
                metric="exact_match",
                baseline="0.03 (most frequent caption)",
            ),
        ),
        "0.03",
    ),
    Application(
        ONE_TO_MANY,
        "What is the next character?",
        "the documentation in Python's standard library; the last tenth is the test part",
        "PSF-2.0",
        (
            Entry("characters", "characters", "bits", "1.90 (Witten-Bell n-gram)", figure="surprise"),
            Entry("characters-shakespeare", "characters --preset=full", "bits", "2.29 (Witten-Bell n-gram)"),
        ),
        "4.67",
    ),
    Application(
        ONE_TO_MANY,
        "What is the next chord?",
        "365 chorales by Bach in four voices, from music21; other tunes are the test part",
        "public domain; music21 is BSD-3-Clause, its scores have terms of their own",
        (
            Entry(
                "chorales", "chorales", "test/loss", "6.20 (each voice by its note before)", figure="composed"
            ),
            Entry(
                "chorales-quarter",
                "chorales --config.data.grid=quarter",
                "test/loss",
                "8.49 (each voice by its note before)",
            ),
        ),
        "11.2",
    ),
    Application(
        SYNCED,
        "Three voices for a melody",
        "the same chorales on eighths, soprano to alto, tenor and bass",
        "public domain; music21 is BSD-3-Clause, its scores have terms of their own",
        (
            Entry(
                "harmonize",
                "harmonize",
                "test/bass_accuracy",
                "0.300 (regression on 9 frames)",
                (("test/alto_accuracy", "0.350"), ("test/tenor_accuracy", "0.339")),
                "harmonized",
            ),
            Entry(
                "harmonize-window",
                "harmonize --config.architecture=window",
                "test/bass_accuracy",
                "0.300 (regression on 9 frames)",
                (("test/alto_accuracy", "0.350"), ("test/tenor_accuracy", "0.339")),
            ),
        ),
        "0.13",
    ),
    Application(
        SYNCED,
        "The sound of each letter",
        "CMUdict's words with aligned phones; 12,548 words are the test part",
        "BSD-2-Clause",
        (
            Entry(
                "tagging",
                "tagging --config.evaluate_on=test",
                baseline="0.911 (context look-up)",
                others=TAGGING_ERRORS,
            ),
            Entry(
                "tagging-full",
                "tagging --preset=full --config.evaluate_on=test",
                baseline="0.911 (context look-up)",
                others=TAGGING_ERRORS,
            ),
        ),
        "0.16",
    ),
    Application(
        SYNCED,
        "Speech without noise",
        "recorded prompts in French and Russian with noise; English is the test part",
        "CC BY-SA 3.0, CC BY 3.0",
        (
            Entry(
                "denoise",
                "denoise",
                "all/si_sdr_gain",
                "5.18 dB (spectral subtraction)",
                (
                    ("white/si_sdr_gain", "8.34 dB"),
                    ("pink/si_sdr_gain", "6.55 dB"),
                    ("babble/si_sdr_gain", "0.63 dB"),
                ),
                figure="spectrograms",
            ),
        ),
        "about 1, as a filter of the mean spectrum",
    ),
    Application(
        SYNCED,
        "Where does a digit move, frame by frame?",
        "UCI's digits in a synthetic motion, as above",
        CC_BY,
        (
            Entry(
                "video-motion",
                "video --config.labels=frames",
                baseline="0.41 (always still)",
                figure="film",
            ),
            *(
                Entry(
                    f"video-motion-{reader.replace('_', '-')}",
                    f"video --config.labels=frames --config.reader={reader}",
                    baseline="0.41 (always still)",
                )
                for reader in ("conv_lstm", "mean", "frame")
            ),
        ),
        "0.41",
    ),
    Application(
        MANY_TO_MANY,
        "How is a word pronounced?",
        "CMUdict; 12,548 words are the test part",
        "BSD-2-Clause",
        (
            Entry(
                "pronounce",
                "pronounce --config.evaluate_on=test --config.decoding.beams=4",
                "phone_error_rate",
                "0.094 (context look-up)",
                (("word_error_rate", "0.410 (context look-up)"),),
                "attention_knowledge",
            ),
            Entry(
                "pronounce-full",
                "pronounce --preset=full --config.evaluate_on=test --config.decoding.beams=4",
                "phone_error_rate",
                "0.094 (context look-up)",
                (("word_error_rate", "0.410 (context look-up)"),),
            ),
        ),
        "about 1",
    ),
    Application(
        MANY_TO_MANY,
        "Names and messages in German",
        "4,900 English and German texts of Django and pycountry; a tenth, other words, is the test part",
        "BSD-3-Clause, LGPL-2.1",
        (
            Entry(
                "translate",
                "translate",
                "chrf",
                "43.7 (copying the source)",
                (("bleu", "23.2 (copying)"), ("exact_match", "0 (copying)")),
                "attention_0",
            ),
        ),
        "about 10",
    ),
    Application(
        MANY_TO_MANY,
        "A question about a story",
        "generated stories, which are synthetic; bAbI from the user's disk by a setting",
        "none: generated",
        (
            Entry(
                "answer",
                "answer",
                "task1/accuracy",
                "0.323 (the place mentioned last)",
                (("task2/accuracy", "0.247 (the place mentioned last)"),),
                "story_4",
            ),
        ),
        "0.12",
    ),
)
"""The applications, in the order of `PATTERNS`."""
