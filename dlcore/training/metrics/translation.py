"""Scores of translations, which the package sacrebleu computes from texts: BLEU and chrF."""

from collections.abc import Sequence

from dlcore.utils.checks import check_instance


def translation_scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The scores chrF and BLEU of translations, over all texts together.

        chrF = 100 · 5 p r / (4 p + r),    BLEU = 100 · min(1, exp(1 - m / h)) · (p_1 p_2 p_3 p_4)^(1/4)

    p and r are the means over n = 1..6 of the precision and the recall of n-grams of characters. p_n is the precision
    of n-grams of words, and h and m are the numbers of words in all translations and in all references.

    For names and other texts of few words only chrF says much. Both are no sums over texts; an experiment has them as
    its `scores`.

    Args:
        hypotheses: N translations.
        references: N correct translations.

    Returns:
        ``{"chrf": 0..100, "bleu": 0..100}``, with the settings that sacrebleu has by default.

    Raises:
        ImportError: sacrebleu is not installed.
        TypeError: an argument is no list of texts.
        ValueError: there are no texts, or the lists have different lengths.

    Sources: Popović 2015 (chrF); Papineni et al. 2002 (BLEU); Post 2018, arXiv 1804.08771 (sacrebleu).

    >>> scores = translation_scores(["die Katze sitzt"], ["die Katze saß"])
    >>> round(scores["chrf"], 1)
    72.0
    """
    for name, texts in (("hypotheses", hypotheses), ("references", references)):
        check_instance(name, texts, (list, tuple), "a list of texts")
        for text in texts:
            check_instance(name, text, str, "texts")
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(
            f"hypotheses: got {len(hypotheses)} texts for {len(references)} references, expected as many, at least one"
        )
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise ImportError("translation_scores needs sacrebleu; pip install 'dlcore[experiments]'") from error
    return {
        name: float(metric.corpus_score(hypotheses, [references]).score)
        for name, metric in (("chrf", CHRF()), ("bleu", BLEU()))
    }
