"""`python -m coldchain.testing.load --url http://127.0.0.1:8080/ --rate 300 --seconds 10`: load by hand.

Prints the report as JSON; exits 1 when a request failed, 2 when the call makes no sense.
"""

import argparse
import asyncio
import sys
from urllib.parse import urlsplit

import msgspec

from coldchain.model.errors import ColdchainError
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.load.report import Report


def main() -> int:
    arguments = _arguments()
    urls = [urlsplit(url) for url in arguments.url]
    if any(url.scheme != "http" or not url.hostname for url in urls):
        print("Every --url must be http://HOST[:PORT]/PATH", file=sys.stderr)
        return 2
    connect = urlsplit(f"//{arguments.connect}") if arguments.connect else urls[0]
    try:
        plan = LoadPlan(
            address=connect.hostname or "",
            port=connect.port or 80,
            targets=tuple(
                Target(host=url.netloc, path=(url.path or "/") + (f"?{url.query}" if url.query else "")) for url in urls
            ),
            rate=arguments.rate,
            post_share=arguments.post_share,
            keep_alive_share=arguments.keep_alive_share,
            slow_share=arguments.slow_share,
            slow_seconds=arguments.slow_seconds,
            timeout_seconds=arguments.timeout_seconds,
        )
        with asyncio.Runner() as runner:
            report = runner.run(_load(plan, arguments.seconds))
    except ColdchainError as error:
        print(error, file=sys.stderr)
        return 2
    print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    return 1 if report.total.failed else 0


async def _load(plan: LoadPlan, seconds: float) -> Report:
    async with Generator(plan) as generator:
        await asyncio.sleep(seconds)
    return generator.report()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m coldchain.testing.load", description=__doc__)
    parser.add_argument("--url", action="append", required=True, help="may be given again: equal shares of the load")
    parser.add_argument("--connect", help="HOST:PORT to connect to; else that of the first URL")
    parser.add_argument("--rate", type=float, default=300, help="requests per second (300)")
    parser.add_argument("--seconds", type=float, default=10, help="for how long (10)")
    parser.add_argument("--post-share", type=float, default=0.5, help="share of POST, the others are GET (0.5)")
    parser.add_argument("--keep-alive-share", type=float, default=0.5, help="share over kept connections (0.5)")
    parser.add_argument("--slow-share", type=float, default=0.0, help="share that asks for --slow-seconds by ?ms= (0)")
    parser.add_argument("--slow-seconds", type=float, default=1.0, help="service time of slow requests (1)")
    parser.add_argument("--timeout-seconds", type=float, default=10.0, help="then a request has failed (10)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
