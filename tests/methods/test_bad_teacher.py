"""Known answers for the bad teacher."""

from collections.abc import Callable
from typing import Any

import torch

from regunlearn.methods.bad_teacher import bad_teacher, taught

Make = Callable[..., Any]


def test_each_part_is_taught_by_its_teacher(make: Make) -> None:
    harness = make("two_outputs")
    request, (competent, incompetent) = harness.request(), harness.models()
    lesson, n = taught(request, competent=competent, incompetent=incompetent), len(request.retain)
    torch.testing.assert_close(lesson.targets[:n], request.predict(competent, request.retain))
    torch.testing.assert_close(lesson.targets[n:], request.predict(incompetent, request.forget))
    assert sorted(lesson.index.tolist()) == list(range(48))


def test_plain_loss_on_the_lesson_is_the_published_mixture(make: Make) -> None:
    harness = make()
    request, (competent, incompetent) = harness.request(), harness.models()
    lesson = taught(request, competent=competent, incompetent=incompetent)
    student = request.predict(request.new_model(), lesson)
    forget = torch.arange(len(lesson)) >= len(request.retain)
    good, bad = request.predict(competent, lesson), request.predict(incompetent, lesson)
    by_row = torch.where(forget[:, None], (student - bad) ** 2, (student - good) ** 2)
    torch.testing.assert_close(request.loss(student, lesson.targets), by_row.mean())


def test_the_student_moves_and_the_teachers_do_not(make: Make, monkeypatch: Any) -> None:
    harness = make("batch_norm")
    request, made = harness.request(), []
    fresh = type(request).new_model
    monkeypatch.setattr(type(request), "new_model", lambda self: made.append(fresh(self)) or made[-1])
    before = harness.models()[0].state_dict()
    student = bad_teacher(request)
    (incompetent,) = made
    untouched = harness.request().new_model().state_dict()
    assert all(torch.equal(v, untouched[k]) for k, v in incompetent.state_dict().items())
    assert all(not torch.equal(v, before[k]) for k, v in student.state_dict().items())


def test_retain_predictions_are_kept_better_than_forget_predictions(make: Make) -> None:
    harness = make()
    request, teacher = harness.request(), harness.models()[0]
    student = bad_teacher(request, share=5.0, rate=1.0)
    retain, forget = (
        (request.predict(student, rows) - request.predict(teacher, rows)).abs().mean()
        for rows in (request.retain, request.forget)
    )
    assert retain < 0.5 * forget
