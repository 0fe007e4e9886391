"""An emulator of Google Cloud Storage with two things that TensorStore needs and the package's own emulator lacks.

    python -m tests.helpers.storage_emulator start --host=HOST --port=PORT --in-memory --default-bucket=NAME

A download tells the generation of its object, and a write may ask for the generation that it replaces.
"""

import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

Handler = Callable[..., Any]


def generation(storage: Any, bucket: str, name: str) -> str:
    from gcp_storage_emulator.exceptions import (
        NotFound,  # not everybody who collects the tests has the package
    )

    try:
        return str(storage.get_file_obj(bucket, name)["generation"])
    except NotFound:
        return "0"


def telling_generation(download: Handler) -> Handler:
    @functools.wraps(download)
    def handle(request: Any, response: Any, storage: Any, *rest: Any) -> None:
        bucket, name = request.params["bucket_name"], request.params["object_id"]
        response["x-goog-generation"] = generation(storage, bucket, name)
        download(request, response, storage, *rest)

    return handle


def conditional(insert: Handler) -> Handler:
    @functools.wraps(insert)
    def handle(request: Any, response: Any, storage: Any, *rest: Any) -> None:
        wanted, name = (request.query.get(key, [None])[0] for key in ("ifGenerationMatch", "name"))
        if wanted is not None and wanted != generation(storage, request.params["bucket_name"], name):
            response.status = HTTPStatus.PRECONDITION_FAILED
        else:
            insert(request, response, storage, *rest)

    return handle


if __name__ == "__main__":
    from gcp_storage_emulator.handlers import objects

    objects.download, objects.insert = telling_generation(objects.download), conditional(objects.insert)
    from gcp_storage_emulator.__main__ import main  # reads the handlers when it is imported

    main()
