"""A type of setting that checks its own text, as users may write one."""


class Capitals(str):
    """Text in capital letters and digits. It would accept '12' too, which an integer beside it must win."""

    expected = "text in capitals"

    def __new__(cls, text: str) -> "Capitals":
        if text != text.upper() or not text.isalnum():
            raise ValueError(f"text: got {text!r}, expected capitals")
        return super().__new__(cls, text)
