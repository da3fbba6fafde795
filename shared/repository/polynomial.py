"""The chunker polynomial of a repository's config: random, irreducible over GF(2), of degree 53.

restic's chunker draws it and tests it so (Rabin's test); our own chunker does not use it, stock restic does.
"""

from __future__ import annotations

import secrets

DEGREE = 53


def random_polynomial() -> str:
    """As the config has it: hex digits."""
    while True:
        candidate = secrets.randbits(DEGREE) | 1 << DEGREE | 1
        if is_irreducible(candidate):
            return f"{candidate:x}"


def is_irreducible(polynomial: int) -> bool:
    """Rabin's test: x^(2^n) = x, and x^(2^(n/q)) - x has no factor in common for each prime q of the degree n."""
    degree = polynomial.bit_length() - 1
    for prime in _prime_factors(degree):
        if _gcd(polynomial, _frobenius(degree // prime, polynomial) ^ 2) != 1:
            return False
    return _frobenius(degree, polynomial) == _mod(2, polynomial)


def _frobenius(times: int, modulus: int) -> int:
    """x^(2^times) modulo the polynomial."""
    result = 2
    for _ in range(times):
        result = _mod(_square(result), modulus)
    return result


def _square(polynomial: int) -> int:
    """Squaring over GF(2) spreads the bits: the binary digits are those of the square in base four."""
    return int(f"{polynomial:b}", 4)


def _mod(polynomial: int, modulus: int) -> int:
    degree = modulus.bit_length()
    while polynomial.bit_length() >= degree:
        polynomial ^= modulus << (polynomial.bit_length() - degree)
    return polynomial


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, _mod(a, b)
    return a


def _prime_factors(number: int) -> set[int]:
    factors, divisor = set(), 2
    while number > 1:
        while number % divisor == 0:
            factors.add(divisor)
            number //= divisor
        divisor += 1
    return factors
