"""Film reviews by GRU, with dropout, in both directions, and in the book's form (Xu 9.8-9.15)."""

from tempfile import TemporaryDirectory

import numpy as np

from nnx import datasets, plots
from nnx.recipes.runner import train
from nnx.reproduce import Experiment, Page, Result
from nnx.text import Tokenizer

EXPERIMENT = Experiment(
    about="The three recipes on film reviews: overfitting, dropout, both directions; GRU (9.4)",
    section="9.8-9.15, fig. 9.3, 9.5, 9.7",
    prints="75% and falling; over 80% with dropout; over 82% in both directions",
    tolerance="at least 75%, 80%, 82% of the test reviews (45% quick: one epoch)",
    seconds=420,
    quick="1 epoch for 8, 40 words for 120, the first recipe alone",
    needs=("imdb",),
)

RECIPES = {
    "imdb-gru": ("75%", {}, 0.75),
    "imdb-gru-dropout": ("80%", {}, 0.80),
    "imdb-bigru-dropout": ("82%", {}, 0.82),
    "imdb-gru-dropout, GRU (9.4)": ("", {"gru": "before"}, 0.75),
}


def run(page: Page) -> Result:
    lengths(page)
    plan = {"epochs": 1, "length": 40} if page.quick else {"epochs": 8}
    rows, panels, shares = [], {"loss": {}, "accuracy": {}}, {}
    for name, (printed, options, _) in RECIPES.items():
        with TemporaryDirectory() as folder:
            recipe = name.partition(",")[0]
            trained = train(recipe, out=folder, progress=False, seed=page.seed, **plan, **options)
            history = trained.history
            epochs = np.arange(1, len(history) + 1)
            for what in panels:
                panels[what][f"{name}, training"] = (epochs, history[what])
                panels[what][f"{name}, validation"] = (epochs, history[f"val_{what}"])
            shares[name] = trained.result["accuracy"]
        rows.append([name, printed or "as good as 9.8", f"{shares[name]:.2%}"])
        if page.quick:
            break
    page.table("Test reviews judged right", ["recipe", "the book", "here"], rows)
    for what, of_what in panels.items():
        page.draw(
            what,
            plots.lines,
            {
                name: {
                    "training": of_what[f"{name}, training"],
                    "validation": of_what[f"{name}, validation"],
                }
                for name in shares
            },
            title=f"Xu fig. 9.3, 9.5, 9.7: {what}",
            xlabel="epoch",
            ylabel=what,
            marks="o",
            across=2,
        )
    page.note(
        "Without dropout the training loss falls to nothing while the validation loss rises: "
        "fig. 9.3.  4,496 of the book's 25,000 training reviews ship with the data here."
    )
    least = {n: 0.45 if page.quick else RECIPES[n][2] for n in shares}
    below = [f"{n} {shares[n]:.2%}" for n in shares if shares[n] < least[n]]
    assert not below, "; ".join(below)
    return Result(
        "; ".join(f"{name} {share:.2%}" for name, share in shares.items()),
        "each at least the book's" if not page.quick else "the small form's 45%",
        shares,
    )


def lengths(page: Page) -> None:
    """9.8.1 chooses 400 words by a histogram of the reviews' lengths."""
    texts = datasets.load_imdb().train.texts
    words = np.array([len(Tokenizer()(text)) for text in texts[: 300 if page.quick else None]])
    page.draw(
        "lengths",
        plots.histograms,
        {"reviews": [words]},
        title=f"Xu 9.8.1: words in a review; {np.mean(words <= 400):.0%} have at most 400",
        xlabel="words",
        span=(0, 1200),
        bins=40,
    )
