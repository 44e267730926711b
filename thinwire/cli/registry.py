"""The verbs of the command line, in the order of the help."""

from typing import Any

from thinwire.cli.verb import Verb
from thinwire.cli.verbs import (
    baselines,
    benchmark,
    data_inspect,
    decompile,
    demo,
    doctor,
    eval,
    export,
    frontier,
    generate,
    import_circuit,
    import_model,
    plot,
    prune,
    report,
    score,
    tasks_check,
    tasks_export,
    tasks_list,
    tasks_show,
    train,
    verify,
    view,
)

VERBS: dict[str, Verb[Any]] = {
    module.VERB.name: module.VERB
    for module in (
        demo,
        data_inspect,
        train,
        eval,
        generate,
        tasks_list,
        tasks_show,
        tasks_check,
        tasks_export,
        prune,
        baselines,
        verify,
        score,
        benchmark,
        frontier,
        report,
        view,
        plot,
        decompile,
        import_model,
        import_circuit,
        export,
        doctor,
    )
}
