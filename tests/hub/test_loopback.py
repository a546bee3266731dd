"""The loopback Hub against the real client: what is written can be read back, and errors are the Hub's."""

import os
import subprocess
import sys

import huggingface_hub
import pytest
import timm
import timm.models
import torch
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import save

TOKEN = "hf_test"
CARD = "---\nlicense: mit\nlibrary_name: timm\ntags: [sslzoo, chest-x-ray]\n---\n# A model\n"
REPO = "sslzoo/one"


@pytest.fixture
def api(hub):
    return HfApi(token=TOKEN)


@pytest.fixture
def weights():
    return save({"w": torch.arange(60_000, dtype=torch.float32)})


@pytest.fixture
def published(api, tmp_path, weights):
    """A repo with a card, a file in a folder and weights, uploaded by the real client."""
    folder = tmp_path / "model"
    (folder / "more").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "more/config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    return api


def read(path, repo=REPO, **options):
    with open(hf_hub_download(repo, path, **options), "rb") as stream:
        return stream.read()


@pytest.mark.usefixtures("published")
def test_an_uploaded_folder_comes_back_byte_for_byte(hub, weights):
    assert read("model.safetensors") == weights
    assert read("README.md") == CARD.encode()
    assert read("more/config.json", revision=hub.head(REPO)) == b"{}"
    assert set(hub.files(REPO)) == {".gitattributes", "README.md", "more/config.json", "model.safetensors"}
    assert hub.files(REPO)["model.safetensors"] == weights
    assert hub.sent == len(weights) + len(CARD) + 2
    assert hub.sent == sum(stop - start for _, start, stop in hub.ranges)


def test_git_files_are_named_by_their_sha1_and_lfs_files_by_their_sha256(published, hub, weights):
    small = huggingface_hub.get_hf_file_metadata(f"{hub.endpoint}/{REPO}/resolve/main/README.md")
    large = huggingface_hub.get_hf_file_metadata(f"{hub.endpoint}/{REPO}/resolve/main/model.safetensors")
    assert small.etag == huggingface_hub.utils.sha.git_hash(CARD.encode())
    assert large.etag == huggingface_hub.utils.sha.sha256(weights).hexdigest()
    assert (small.size, large.size) == (len(CARD), len(weights))
    assert small.commit_hash == large.commit_hash == hub.head(REPO)
    assert small.location.startswith(hub.endpoint)
    assert large.location.startswith(hub.cdn)
    assert hub.blob(large.etag) == weights


def test_a_file_that_is_known_is_not_sent_again(published, hub, weights):
    hub.forget()
    published.upload_file(path_or_fileobj=weights, path_in_repo="again.safetensors", repo_id=REPO)
    assert read("again.safetensors") == weights
    assert not [path for method, path in hub.requests if method == "PUT"]
    before = hub.head(REPO)
    assert published.upload_file(path_or_fileobj=weights, path_in_repo="again.safetensors", repo_id=REPO).oid == before


def test_model_info_and_listings(published, weights):
    info = published.model_info(REPO, files_metadata=True)
    assert (info.author, info.private, info.gated, info.library_name) == ("sslzoo", False, False, "timm")
    assert info.card_data.license == "mit"
    assert {"sslzoo", "chest-x-ray", "timm", "license:mit", "safetensors"} <= set(info.tags)
    sizes = {sibling.rfilename: (sibling.size, sibling.lfs is not None) for sibling in info.siblings}
    assert sizes["model.safetensors"] == (len(weights), True)
    assert sizes["README.md"] == (len(CARD), False)
    assert published.model_info(REPO, revision=info.sha).sha == info.sha
    assert set(vars(published.model_info(REPO, expand=["tags"]))) >= {"tags"}
    assert published.model_info(REPO, expand=["tags"]).sha is None
    flat = {entry.path for entry in published.list_repo_tree(REPO)}
    assert flat == {".gitattributes", "README.md", "model.safetensors", "more"}
    assert [entry.path for entry in published.list_repo_tree(REPO, "more")] == ["more/config.json"]
    assert "more/config.json" in published.list_repo_files(REPO)
    paths = published.get_paths_info(REPO, ["model.safetensors", "more", "absent"])
    assert [(path.path, getattr(path, "size", None)) for path in paths] == [
        ("model.safetensors", len(weights)),
        ("more", None),
    ]
    assert published.get_safetensors_metadata(REPO).files_metadata["model.safetensors"].tensors["w"].shape == [60_000]


def test_models_are_listed_by_tag_author_and_name(published, hub):
    hub.serve("other/two", "a" * 40, {"README.md": b"---\ntags: [sslzoo]\n---\n"})
    hub.serve("other/three", "b" * 40, {"README.md": b"# no tags"})
    listed = {model.id: model for model in published.list_models(filter="sslzoo")}
    assert set(listed) == {REPO, "other/two"}
    assert listed[REPO].card_data is None
    assert [model.id for model in published.list_models(filter=["sslzoo", "chest-x-ray"])] == [REPO]
    assert [model.id for model in published.list_models(author="other", search="TW")] == ["other/two"]
    newest = list(published.list_models(sort="last_modified", limit=1, full=True, cardData=True))
    assert [model.id for model in newest] == ["other/three"]
    assert next(iter(published.list_models(author="sslzoo", cardData=True))).card_data.license == "mit"
    hub.private.add("other/two")
    assert [model.id for model in HfApi().list_models(author="other", token=False)] == ["other/three"]


def test_the_snapshot_is_what_was_pushed(published, tmp_path, weights):
    place = huggingface_hub.snapshot_download(REPO, allow_patterns=["*.safetensors", "more/*"])
    assert sorted(os.listdir(place)) == ["model.safetensors", "more"]
    hf_hub_download(REPO, "model.safetensors", local_dir=tmp_path / "here")
    assert (tmp_path / "here/model.safetensors").read_bytes() == weights


def test_commits_parents_and_history(published, hub):
    first = hub.head(REPO)
    done = published.create_commit(
        REPO,
        [CommitOperationAdd("note.txt", b"x"), CommitOperationDelete("more/")],
        commit_message="Tidy up",
        commit_description="For a reason.",
        parent_commit=first,
    )
    assert done.oid == hub.head(REPO)
    assert not published.file_exists(REPO, "more/config.json")
    assert published.file_exists(REPO, "more/config.json", revision=first)
    history = published.list_repo_commits(REPO)
    assert [commit.commit_id for commit in history][:2] == [done.oid, first]
    assert [commit.title for commit in history][::2] == ["Tidy up", "initial commit"]
    assert history[0].message == "For a reason."
    assert history[0].created_at > history[1].created_at
    with pytest.raises(HfHubHTTPError, match="412") as stale:
        published.create_commit(REPO, [CommitOperationAdd("b", b"b")], commit_message="b", parent_commit=first)
    assert stale.value.response.status_code == 412
    assert hub.head(REPO) == done.oid
    with pytest.raises(EntryNotFoundError):
        published.delete_file("absent", REPO)


def test_a_short_id_resolves_nothing(published, hub):
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(REPO, "README.md", revision=hub.head(REPO)[:8])
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(REPO, "absent")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("sslzoo/absent", "README.md")


def test_branches_and_tags(published, hub):
    published.create_tag(REPO, tag="v1", revision=hub.head(REPO)[:7])
    published.create_branch(REPO, branch="next")
    published.upload_file(path_or_fileobj=b"later", path_in_repo="note", repo_id=REPO, revision="next")
    refs = published.list_repo_refs(REPO)
    assert {ref.name: ref.target_commit == hub.head(REPO) for ref in refs.branches} == {"main": True, "next": False}
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1", hub.head(REPO))]
    assert read("README.md", revision="v1") == CARD.encode()
    assert read("note", revision="next") == b"later"
    assert "note" not in hub.files(REPO)
    with pytest.raises(HfHubHTTPError) as twice:
        published.create_tag(REPO, tag="v1")
    assert twice.value.response.status_code == 409
    published.delete_tag(REPO, tag="v1")
    published.delete_branch(REPO, branch="next")
    refs = published.list_repo_refs(REPO)
    assert ([ref.name for ref in refs.branches], refs.tags) == (["main"], [])


def test_cards_are_validated_pushed_and_loaded(api, hub):
    api.create_repo(REPO)
    card = ModelCard(CARD)
    card.push_to_hub(REPO, token=TOKEN)
    assert ModelCard.load(REPO).content == card.content
    assert hub.files(REPO)["README.md"] == card.content.encode()
    assert ModelCard.load(REPO).data.tags == ["sslzoo", "chest-x-ray"]
    with pytest.raises(ValueError, match="Invalid metadata in README"):
        api.upload_file(path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id=REPO)


def test_collections_are_made_once_and_hold_an_item_once(published):
    shelf = published.create_collection("Chest encoders", namespace="sslzoo", description="All of them")
    again = published.create_collection("Chest encoders", namespace="sslzoo", exists_ok=True)
    assert again.slug == shelf.slug
    assert shelf.slug.startswith("sslzoo/chest-encoders-")
    with pytest.raises(HfHubHTTPError) as twice:
        published.create_collection("Chest encoders", namespace="sslzoo")
    assert twice.value.response.status_code == 409
    for _ in range(2):
        filled = published.add_collection_item(shelf.slug, REPO, "model", note="the first", exists_ok=True)
    assert [(item.item_id, item.item_type, item.note) for item in filled.items] == [(REPO, "model", "the first")]
    with pytest.raises(HfHubHTTPError) as twice:
        published.add_collection_item(shelf.slug, REPO, "model")
    assert twice.value.response.status_code == 409
    with pytest.raises(RepositoryNotFoundError):
        published.add_collection_item(shelf.slug, "sslzoo/absent", "model")
    assert published.get_collection(shelf.slug).description == "All of them"
    assert [found.slug for found in published.list_collections(owner="sslzoo", item=f"models/{REPO}")] == [shelf.slug]
    published.delete_collection_item(shelf.slug, filled.items[0].item_object_id)
    assert published.get_collection(shelf.slug).items == []
    published.delete_collection(shelf.slug)
    assert list(published.list_collections()) == []


def test_private_repos_and_writes_need_a_token(api, hub, weights):
    assert api.whoami()["name"] == hub.user
    api.create_repo("sslzoo/secret", private=True)
    api.upload_file(path_or_fileobj=weights, path_in_repo="model.safetensors", repo_id="sslzoo/secret")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("sslzoo/secret", "model.safetensors", token=False)
    assert read("model.safetensors", "sslzoo/secret", token=TOKEN) == weights
    assert api.model_info("sslzoo/secret").private
    assert hub.leaks == []
    with pytest.raises(HfHubHTTPError) as denied:
        HfApi(token=False).create_repo("sslzoo/mine")
    assert denied.value.response.status_code == 401
    api.update_repo_settings("sslzoo/secret", visibility="public")
    assert read("model.safetensors", "sslzoo/secret", token=False) == weights


def test_gated_repos_ask_for_a_token_that_was_granted(hub, api, weights):
    hub.serve(REPO, "c" * 40, {"model.safetensors": weights})
    hub.gated.add(REPO)
    hub.granted.add("hf_granted")
    with pytest.raises(GatedRepoError):
        hf_hub_download(REPO, "model.safetensors", token=TOKEN)
    with pytest.raises(GatedRepoError):
        api.auth_check(REPO)
    assert api.model_info(REPO).gated == "manual"
    assert read("model.safetensors", token="hf_granted") == weights


def test_repos_are_created_once_and_can_be_deleted(api, hub):
    assert api.create_repo("alone").repo_id == f"{hub.user}/alone"
    with pytest.raises(HfHubHTTPError) as twice:
        api.create_repo("alone")
    assert twice.value.response.status_code == 409
    assert api.create_repo("alone", exist_ok=True).repo_id == f"{hub.user}/alone"
    api.delete_repo(f"{hub.user}/alone")
    assert not api.repo_exists(f"{hub.user}/alone")


def test_served_commits_have_a_history_and_main_follows(hub):
    hub.serve(REPO, "1" * 40, {"a.json": b"1"})
    hub.serve(REPO, "2" * 40, {"a.json": b"2"})
    assert [read("a.json"), read("a.json", revision="1" * 40)] == [b"2", b"1"]
    assert hub.serve(REPO, "1" * 40, {"a.json": b"3"}) == "1" * 40
    assert hub.files(REPO) == {"a.json": b"3"}
    assert [commit.commit_id for commit in HfApi().list_repo_commits(REPO, revision="2" * 40)] == ["2" * 40, "1" * 40]
    made = hub.serve(REPO, "main", {"a.json": b"4"})
    assert len(made) == 40
    assert read("a.json", revision=made) == b"4"


def test_timm_pushes_and_loads_equal_weights(hub):
    torch.manual_seed(0)
    network = timm.create_model("resnet18", channels=[8, 8, 16, 16], num_classes=3)
    timm.models.push_to_hf_hub(network, REPO, token=TOKEN, safe_serialization=True)
    loaded = timm.create_model(f"hf-hub:{REPO}", pretrained=True)
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in network.state_dict().items())
    assert "model.safetensors" in hub.files(REPO)


def test_another_process_can_fetch_too(hub, weights):
    hub.serve(REPO, "d" * 40, {"model.safetensors": weights})
    code = f"""
from huggingface_hub import hf_hub_download
path = hf_hub_download({REPO!r}, "model.safetensors", revision={"d" * 40!r})
print(len(open(path, "rb").read()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == hub.sent == len(weights)


def test_the_fixture_keeps_assets_apart(hub, tmp_path):
    assert huggingface_hub.cached_assets_path("sslzoo").is_relative_to(tmp_path / "assets")


def test_an_unknown_route_is_not_found(api):
    with pytest.raises(RepositoryNotFoundError):
        api.get_user_overview("nobody")
