"""Named recipes of training: each says its command, its cost and its number."""

from fmnist.settings import Training

RECIPES = {
    # The settings of the report: 400 epochs at batch 1024. It reached 91.37% validation accuracy on
    # the `competition` task. About 2 hours on two CPU cores:
    #   python -m jobs.train --recipe report --task competition
    "report": Training(),
    # A laptop's recipe; README.md has its score and its seconds:
    #   python -m jobs.train --recipe quick
    "quick": Training(
        learning_rate=2e-3,
        schedule="one-cycle",
        batch=256,
        epochs=13,
        precision="auto",
        augmentation="auto",
    ),
}
