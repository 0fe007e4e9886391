"""Scores of translations, which the package sacrebleu computes from texts: BLEU and chrF."""

from collections.abc import Sequence

from dlcore.utils.checks import check_instance


def translation_scores(
    hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] | None = None
) -> dict[str, float]:
    """The scores chrF and BLEU of translations, over all texts together, and the share of those that are correct.

        chrF = 100 · 5 p r / (4 p + r),    BLEU = 100 · min(1, exp(1 - m / h)) · (p_1 p_2 p_3 p_4)^(1/4)

    p and r are the means over n = 1..6 of the precision and the recall of n-grams of characters. p_n is the precision
    of n-grams of words, and h and m are the numbers of words in all translations and in all references.

    For names and other texts of few words only chrF says much. Neither is a sum over texts, so an experiment
    computes them in its `scores`, not in its metrics.

    Args:
        hypotheses: N translations.
        references: N correct translations.
        sources: the N texts that were translated; None: the baseline is left out.

    Returns:
        A dict: ``chrf`` and ``bleu``, 0 to 100, with the settings that sacrebleu has by default, and ``exact_match``, 0
        to 1. With sources also ``chrf_of_copying``, ``bleu_of_copying`` and ``exact_match_of_copying``, the same of the
        baseline that leaves every source as it is.

    Raises:
        ImportError: sacrebleu is not installed.
        TypeError: an argument is no list of texts.
        ValueError: there are no texts, or the lists have different lengths.

    Sources: Popović 2015 (chrF); Papineni et al. 2002 (BLEU); Post 2018, arXiv 1804.08771 (sacrebleu).

    >>> scores = translation_scores(["die Katze sitzt"], ["die Katze saß"])
    >>> round(scores["chrf"], 1)
    72.0
    """
    given = {"hypotheses": hypotheses, "references": references}
    given |= {} if sources is None else {"sources": sources}
    for name, texts in given.items():
        check_instance(name, texts, (list, tuple), "a list of texts")
        for text in texts:
            check_instance(name, text, str, "texts")
    for name, texts in given.items():
        if len(texts) != len(references) or not texts:
            raise ValueError(
                f"{name}: got {len(texts)} texts for {len(references)} references, expected as many, at least one"
            )
    scores = _scores(hypotheses, references)
    if sources is not None:
        scores |= {f"{name}_of_copying": score for name, score in _scores(sources, references).items()}
    return scores


def _scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise ImportError("translation_scores needs sacrebleu; pip install 'dlcore[experiments]'") from error
    equal = [text == reference for text, reference in zip(hypotheses, references, strict=True)]
    return {
        "chrf": float(CHRF().corpus_score(hypotheses, [references]).score),
        "bleu": float(BLEU().corpus_score(hypotheses, [references]).score),
        "exact_match": sum(equal) / len(equal),
    }
