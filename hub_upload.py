"""The command `zoo-upload`: publish a checkpoint with its card, pinned and verified.

    zoo-upload CARD.md WEIGHTS.safetensors owner/name [--private] [--dry-run]

The card and the weights are first loaded as any user would load them; nothing is sent when that fails.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import huggingface_hub
import typer
import yaml
from rich.console import Console

import zoo

app = typer.Typer(help="Publish a checkpoint with its card on the Hugging Face Hub.")
console = Console()


@app.command()
def upload(
    card: Annotated[Path, typer.Argument(help="The card, in the format that README shows.")],
    weights: Annotated[Path, typer.Argument(help="A safetensors file.")],
    repo: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    private: Annotated[bool, typer.Option(help="Create a private repo.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check everything, send nothing.")] = False,
) -> None:
    """Check that the card loads the weights, upload them, then the card pinned to that commit."""
    try:
        encoder = zoo.load(card.stem, 1.0, card=card, weights=weights)
    except (ValueError, OSError) as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None
    digest = encoder.report.sha256 if encoder.report else ""
    console.print(f"{encoder.name} loads: {encoder.num_features} features, sha256 {digest}", soft_wrap=True)
    if dry_run:
        return
    api = huggingface_hub.HfApi()
    api.create_repo(repo, private=private, exist_ok=True)
    commit = api.upload_file(path_or_fileobj=weights, path_in_repo="model.safetensors", repo_id=repo)
    revision = api.model_info(repo).sha if commit.oid is None else commit.oid
    with tempfile.TemporaryDirectory() as scratch:
        pinned = Path(scratch) / "README.md"
        pinned.write_text(pin(card.read_text(encoding="utf-8"), repo, str(revision), digest or ""), encoding="utf-8")
        api.upload_file(path_or_fileobj=pinned, path_in_repo="README.md", repo_id=repo)
    console.print(f"Published {repo} at {revision}", soft_wrap=True)


def pin(text: str, repo: str, revision: str, sha256: str) -> str:
    """The card's text with its weights pinned to a commit and digest."""
    _, front, body = text.split("---\n", 2)
    values = yaml.safe_load(front)
    values["zoo"]["weights"] |= {"repo": repo, "revision": revision, "file": "model.safetensors", "sha256": sha256}
    return f"---\n{yaml.safe_dump(values, sort_keys=False)}---\n{body}"


if __name__ == "__main__":
    app()
