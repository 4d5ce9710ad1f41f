"""Where each page of a site stands: paths relative to its folder, the same for the same ids always. Pure."""

import re
from hashlib import blake2b

INDEX, LEDGER, CLAIMS, COMPARE = "index.html", "ledger.html", "claims.html", "compare.html"


def slug(name: str) -> str:
    """Make a name that is safe in a path and a URL, and as readable as it was."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"


def op_page(op: str) -> str:
    """Return the path of an operator's page."""
    return f"op/{slug(op)}.html"


def backend_page(backend: str) -> str:
    """Return the path of a backend's page."""
    return f"backend/{slug(backend)}.html"


def family_page(family: str, part: int = 1) -> str:
    """Return the path of a family's part of the matrix, where the matrix is too large for the index."""
    return f"family/{slug(family)}{f'-{part}' if part > 1 else ''}.html"


def mechanism_page(cause: str) -> str:
    """Return the path of a ledger entry's page, or of an unexpected cause's."""
    return f"m/{slug(cause)}.html"


def discrepancy_page(case: str, api: str) -> str:
    """Return the permalink of one case through one API."""
    name = blake2b(f"{case}\0{api}".encode(), digest_size=6).hexdigest()
    return f"d/{slug(case.partition('/')[0])}/{name}.html"
