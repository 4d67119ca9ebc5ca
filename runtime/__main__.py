"""``python -m ringfence.runtime`` is the command ``ringfence``."""

from ringfence.runtime.cli import main

main()
