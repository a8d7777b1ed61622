"""``python -m ingestd.worker --plan-fd N``: a worker process; only the supervisor starts it."""

import argparse
import faulthandler
import logging
import os
import signal
import sys

import msgspec

from ingestd import prctl
from ingestd.config.plan import WorkerPlan
from ingestd.errors import DaemonError, ExitStatus, IngestdError
from ingestd.log import configure_from_environment
from ingestd.worker.status import StatusPipe
from ingestd.worker.worker import Worker

logger = logging.getLogger(__name__)


def read_plan(file_descriptor: int) -> WorkerPlan:
    """The plan in the memfd with that number, which is closed."""
    with os.fdopen(file_descriptor, "rb") as plan:
        return msgspec.json.decode(plan.read(), type=WorkerPlan)


def main() -> int:
    """Returns the exit status: see ``ingestd.errors.ExitStatus``."""
    # Stacks of a crash, and of the SIGABRT that the supervisor sends to a silent worker.
    faulthandler.enable()
    # A terminal sends these to the whole process group; the supervisor decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="ingestd.worker")
    parser.add_argument("--plan-fd", type=int, required=True)
    plan = read_plan(parser.parse_args().plan_fd)
    configure_from_environment(f"worker-{plan.index}")
    status = StatusPipe(plan.status_fd)
    try:
        prctl.die_with_parent(plan.supervisor_pid)
        prctl.set_name(f"ingestd-w{plan.index}")
        return Worker(plan, status).run()
    except DaemonError as error:
        logger.exception("a fault of our own")
        status.fault(str(error))
        return int(error.exit_status)
    except IngestdError as error:
        logger.error("%s", error)
        status.fault(str(error))
        return int(error.exit_status)
    except Exception as error:
        logger.exception("a fault of our own")
        status.fault(repr(error))
        return int(ExitStatus.FAILED)


if __name__ == "__main__":
    sys.exit(main())
