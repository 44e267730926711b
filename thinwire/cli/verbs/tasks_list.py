from typing import TYPE_CHECKING

from jsonargparse import Namespace

from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.tasks import TaskList


def _run(arguments: Namespace) -> "TaskList":
    from thinwire.workflows.tasks import list_tasks

    return list_tasks()


VERB = Verb(
    name="tasks list",
    summary="List the tasks: binary next-token choices on short Python prompts.",
    usage="[--json]",
    example="thinwire tasks list",
    run=_run,
)
