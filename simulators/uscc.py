"""统一社会信用代码 (GB 32100-2015) with the organisation code of GB 11714-1997 inside it."""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The 31 characters of GB 32100-2015: no I, O, S, V, Z."""

_ORGANISATION_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)


def organisation_code(body: str) -> str:
    """Append the check character of GB 11714 to the 8 digits of an organisation code."""
    total = sum(weight * int(digit) for weight, digit in zip(_ORGANISATION_WEIGHTS, body, strict=True))
    check = (11 - total % 11) % 11
    return body + ("X" if check == 10 else str(check))


def check_character(first17: str) -> str:
    """The 18th character: (31 - sum(c_i * 3^(i-1)) mod 31) mod 31, GB 32100-2015 clause 4.

    Raises ValueError for a character outside the alphabet.
    """
    total = sum(ALPHABET.index(character) * pow(3, place, 31) for place, character in enumerate(first17))
    return ALPHABET[(31 - total % 31) % 31]


def uscc(category: str, region_code: str, organisation_body: str) -> str:
    """A whole code from the 2 characters of authority and kind, 6 of region and 8 of organisation."""
    first17 = category + region_code + organisation_code(organisation_body)
    return first17 + check_character(first17)


def is_valid(code: str) -> bool:
    """True if the code has 18 characters of the alphabet and the right check character."""
    if len(code) != 18 or any(character not in ALPHABET for character in code):
        return False
    return check_character(code[:17]) == code[17]
