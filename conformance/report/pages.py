"""The pages of a site, in the order in which they are written."""

from conformance.report import (
    backend_pages,
    claims_page,
    compare_page,
    discrepancy_pages,
    index_page,
    ledger_page,
    mechanism_pages,
    operator_pages,
)
from conformance.report.site import written

WRITERS = (
    written(index_page.pages),
    written(operator_pages.pages),
    written(mechanism_pages.pages),
    discrepancy_pages.write,
    written(backend_pages.pages),
    written(ledger_page.pages),
    written(claims_page.pages),
    written(compare_page.pages),
)
