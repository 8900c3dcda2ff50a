"""The program of the packages: PyInstaller starts this file, also for each worker process."""

import multiprocessing
import os
import shutil
import sys

#: Where other systems than the one that tixd was built on keep their certificates.
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def find_certificates() -> None:
    """Name the host's certificates where OpenSSL does not find them by itself."""
    import ssl

    found = ssl.get_default_verify_paths()
    if not (found.cafile or found.capath):
        for path in filter(os.path.exists, CERTIFICATES):
            os.environ.setdefault("SSL_CERT_FILE", path)


def restore_environment() -> None:
    """Undo what PyInstaller and the one file changed, which programs started by tixd would see."""
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before := os.environ.pop("LD_LIBRARY_PATH_ORIG", None):
        os.environ["LD_LIBRARY_PATH"] = before
    called = os.environ.pop("TIXD_ONE_FILE", sys.argv[0])
    sys.argv[0] = shutil.which(called) or called


if __name__ == "__main__":
    multiprocessing.freeze_support()  # a worker process goes no further
    restore_environment()
    find_certificates()
    from tixd.__main__ import main

    main()
