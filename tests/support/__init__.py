"""What tests run with: raw peers on real sockets, and the service between them."""

import pytest

pytest.register_assert_rewrite(
    "tests.support.origin", "tests.support.rawclient", "tests.support.running", "tests.support.stage"
)
