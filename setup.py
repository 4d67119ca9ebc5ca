"""Names the packages of the wheel, because pyproject.toml cannot.

Three folders at the top of the repository are imported under one name, `ringfence`. setuptools can
map the folders (package-dir in pyproject.toml) but cannot *find* sub-packages behind such a
mapping, so they are found here: a new folder with an `__init__.py` is in the next wheel without
being listed anywhere.
"""

from setuptools import find_packages, setup

ROOTS = ("actors", "supervisors", "runtime")

setup(
    packages=[
        f"ringfence.{name}"
        for root in ROOTS
        for name in (root, *(f"{root}.{inner}" for inner in find_packages(root)))
    ],
)
