"""The doctor's lines: each state of the machine, the settings and the Hub, and what to do about it."""

import threading

import huggingface_hub
import pytest

import zoo
from tests.conftest import ROOT
from tests.loadable import publish, write_card
from zoo.fetching import hub as hubs
from zoo.fetching.places import store_of
from zoo.registry import cards
from zoo.upkeep import doctor
from zoo.upkeep.doctor import Check

TOKEN = "hf_never_shown"
OWN = cards.folder


@pytest.fixture(autouse=True)
def quiet(hub, tmp_path, monkeypatch):
    """One small card instead of the package's thirty; no token; none of the settings."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(cards, "folder", lambda: folder)
    for name in ("ZOO_CARDS", "ZOO_VERIFY", "ZOO_LICENSE_POLICY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    publish(hub, folder)
    return folder


def lines():
    return {check.subject: check for check in doctor.checks(timeout=2)}


def test_a_healthy_machine(hub, distribution):
    distribution([f"numpy>={_version('numpy')}"])
    found = doctor.checks()
    assert {check.state for check in found} == {"ok"}
    assert {check.next_step for check in found if check.subject != "token"} == {"Nothing to do."}
    subjects = "Python packages ZOO_VERIFY ZOO_LICENSE_POLICY cards cache disk quarantine endpoint token"
    assert set(subjects.split()) < {check.subject for check in found}
    assert Check("gated access", "ok", "no card is gated") in found
    assert Check("endpoint", "ok", f"{hub.endpoint} answers") in found


# Versions


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Makes an installed sslzoo that declares these requirements."""

    def declare(needed, python=">=3.11", extras=()):
        place = tmp_path / "site" / "sslzoo-0.1.0.dist-info"
        place.mkdir(parents=True)
        text = [f"Requires-Python: {python}", *(f"Requires-Dist: {one}" for one in needed)]
        text += [f"Provides-Extra: {one}" for one in extras]
        (place / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", "Name: sslzoo", "Version: 0.1.0", *text]))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    return declare


def _version(name):
    return doctor.importlib.metadata.version(name)


def test_versions_are_held_against_the_declared_bounds(distribution):
    version = _version("numpy")
    distribution([f"numpy>={version}", "torch>=999", "no-such-thing>=1", "numpy>=999; python_version < '3'"])
    packages = lines()["packages"]
    assert packages.state == "bad"
    assert packages.finding == f"torch is {_version('torch')}, not >=999; no-such-thing is missing"
    assert packages.next_step == "Run pip install 'torch>=999' 'no-such-thing>=1'."


def test_good_versions_and_python(distribution):
    distribution([f"numpy>={_version('numpy')}", "torch"])
    assert lines()["packages"] == Check("packages", "ok", "2 at or above their lower bounds")


def test_an_old_python(distribution):
    distribution([], python=">=99.1")
    python = lines()["Python"]
    assert (python.state, python.next_step) == ("bad", "Make an environment with a newer Python.")
    assert python.finding.endswith(", not >=99.1")


def test_extras(distribution):
    needed = [
        'numpy>=1; extra == "full"',
        'no-such-thing>=1; extra == "empty"',
        'numpy>=999; extra == "old"',
        'sslzoo[full]; extra == "old"',
        "numpy",
    ]
    distribution(needed, extras=["full", "empty", "old"])
    found = lines()
    assert found["extra full"] == Check("extra full", "ok", "complete")
    step = "Run pip install 'no-such-thing>=1' where you need it."
    assert found["extra empty"] == Check("extra empty", "ok", "no-such-thing is missing", step)
    assert found["extra old"].state == "warn"
    assert found["extra old"].finding == f"numpy is {_version('numpy')}, not >=999"


def test_a_folder_that_is_not_installed(monkeypatch):
    def missing(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "metadata", missing)
    found = lines()["sslzoo"]
    assert (found.state, found.next_step) == ("warn", f"Run pip install -e {ROOT}.")


# Settings and cards


@pytest.mark.parametrize(
    ("name", "value", "state", "finding"),
    [
        ("ZOO_VERIFY", "strict", "ok", "strict"),
        ("ZOO_VERIFY", "", "ok", "not set"),
        ("ZOO_VERIFY", "always", "bad", "is 'always', none of strict"),
        ("ZOO_LICENSE_POLICY", "refuse", "ok", "refuse"),
        ("ZOO_LICENSE_POLICY", "Refuse", "bad", "is 'Refuse', none of allow, warn, refuse"),
        ("ZOO_LICENCE_POLICY", "refuse", "warn", "is read by nothing"),
        ("ZOO_CARD", "x", "warn", "is read by nothing"),
    ],
)
def test_settings(monkeypatch, name, value, state, finding):
    monkeypatch.setenv(name, value)
    found = lines()[name]
    assert (found.state, found.finding) == (state, finding)
    steps = {"ok": "Nothing to do.", "bad": f"Run unset {name}, or correct it.", "warn": "Rename it ZOO_"}
    assert found.next_step.startswith(steps[state])


def test_settings_of_other_programs_are_left_alone(monkeypatch):
    monkeypatch.setenv("ZOO_LOG_DIR", "/var/log/zookeeper")
    assert "ZOO_LOG_DIR" not in lines()


def test_zoo_cards_that_is_no_folder(monkeypatch):
    monkeypatch.setenv("ZOO_CARDS", "/no/such/folder")
    finding = "ZOO_CARDS must name existing folders (got '/no/such/folder')"
    assert lines()["cards"] == Check("cards", "bad", finding, "Correct or unset it.")


def test_each_broken_card_has_a_line(quiet):
    text = (quiet / "small-test.md").read_text()
    (quiet / "bad-key.md").write_text(text.replace("family:", "familly:"))
    (quiet / "bad-net.md").write_text(text.replace("resnet18", "resnet18000"))
    (quiet / "bad-text.md").write_bytes(b"\xff\xfe")
    found = lines()
    assert found["cards"] == Check("cards", "ok", "1 are valid")
    assert found["card bad-key"].state == "bad"
    assert "familly: Extra inputs" in found["card bad-key"].finding
    assert found["card bad-key"].next_step == "Edit its front matter."
    assert "must be a name that timm lists, built from numbers (got 'resnet18000'" in found["card bad-net"].finding
    assert found["card bad-text"].state == "bad"


# Caches and disk


def test_the_cache_is_measured(quiet):
    zoo.load("small-test")
    held = [path for path in hubs.cache().rglob("*") if path.is_file()]
    finding = lines()["cache"].finding
    assert finding.startswith(f"{hubs.cache()}, ")
    assert finding.endswith(f" kB in {len(held)} files")


@pytest.mark.parametrize(
    ("constant", "subject"), [("HF_ASSETS_CACHE", "cache"), ("HF_HUB_CACHE", "cache of whole files")]
)
def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path, constant, subject):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(huggingface_hub.constants, constant, str(tmp_path / "file" / "below"))
    found = lines()[subject]
    assert (found.state, found.next_step) == ("bad", "Free it, or point HF_HOME at a folder that you may write.")
    assert "cannot be written (Not a directory)" in found.finding


def test_looking_writes_nothing(tmp_path):
    before = sorted(tmp_path.rglob("*"))
    doctor.checks()
    assert sorted(tmp_path.rglob("*")) == before


def test_the_disk_must_hold_the_largest_card(quiet):
    found = lines()["disk"]
    size = sum(value.numel() * value.element_size() for value in zoo.untrained("small-test", 1.0).state_dict().values())
    assert found.state == "ok"
    assert found.finding.endswith(f"the largest checkpoint, small-test, takes about {doctor.decimal(size)}")
    weights = '{repo: lab/huge, revision: "' + "a" * 40 + '", file: model.safetensors, size: 99000000000000000}'
    write_card(quiet, "huge-test", weights)
    found = lines()["disk"]
    assert found.state == "warn"
    assert found.finding.endswith("the largest checkpoint, huge-test, takes about 99.0 PB")
    assert found.next_step.startswith("Free space, run zoo cache prune")


def test_quarantine_says_what_and_where(quiet):
    zoo.load("small-test")
    store = store_of(zoo.card("small-test"))
    store.quarantine(["header"])
    (spoilt,) = store.folder.glob("quarantine/*")
    found = lines()["quarantine"]
    assert (found.state, found.finding) == ("warn", f"1 files whose bytes were not the right ones: {spoilt}")
    assert found.next_step.endswith("run zoo cache prune --quarantine.")


# The Hub


def test_offline_nothing_is_asked(hub, quiet, monkeypatch):
    write_card(quiet, "gated-test", "{repo: lab/gated, file: model.safetensors}")
    gate(quiet)
    hub.forget()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    found = lines()
    assert found["endpoint"].state == "warn"
    assert found["endpoint"].finding == f"HF_HUB_OFFLINE is set: {hub.endpoint} is not asked"
    assert found["endpoint"].next_step.startswith("Run unset HF_HUB_OFFLINE")
    assert {found["token"].state, found["gated access"].state} == {"warn"}
    assert found["gated access"].finding == "not tried, for 1 cards"
    assert found["token"].next_step == "Run zoo doctor again when the endpoint answers."
    assert hub.requests == []


def test_a_hub_that_cannot_be_reached_and_a_password_in_its_address(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://me:password@127.0.0.1:9/hub")
    found = lines()
    assert found["endpoint"].state == "bad"
    assert found["endpoint"].finding.startswith("http://127.0.0.1:9/hub cannot be reached (ConnectError")
    assert found["endpoint"].next_step.startswith("Check the network, the proxy and HF_ENDPOINT")
    assert found["token"].finding == "not tried without the Hub"
    assert "password" not in str(found)


@pytest.mark.parametrize("text", ["<html>Sign in</html>", "{}", ""])
def test_an_endpoint_that_is_no_hub(elsewhere, text):
    elsewhere(200, text)
    finding = lines()["endpoint"].finding
    assert finding.endswith("cannot be reached (it does not answer as a Hub does)")


def test_a_silent_endpoint_is_not_waited_for(elsewhere):
    elsewhere(200, lambda path: threading.Event().wait(3) or "[]")
    found = {check.subject: check for check in doctor.checks(timeout=0.2)}
    assert "Timeout" in found["endpoint"].finding


def test_a_token_is_tried_and_never_shown(hub, monkeypatch):
    assert lines()["token"] == Check(
        "token", "ok", "none: enough for public repos", "Run hf auth login for gated or private ones."
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert lines()["token"] == Check("token", "ok", f"belongs to {hub.user}")
    assert TOKEN not in str(doctor.checks())


@pytest.mark.parametrize(
    ("status", "finding", "step"),
    [
        (401, "the token must be a valid one (got a refusal)", "Run `hf auth login`."),
        (500, "the token cannot be tried (HfHubHTTPError)", "Ask again later."),
    ],
)
def test_a_token_that_is_not_accepted(elsewhere, monkeypatch, status, finding, step):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    elsewhere(status, lambda path: "[]" if path.startswith("/api/models?") else TOKEN)
    assert lines()["token"] == Check("token", "bad", finding, step)
    assert TOKEN not in str(doctor.checks())


@pytest.mark.parametrize("sign", ["\x0b", "é"])
def test_a_token_that_no_header_can_hold_is_not_shown(hub, quiet, monkeypatch, sign):
    publish(hub, quiet, "gated-test")
    gate(quiet)
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}{sign}x")
    found = lines()
    assert found["token"].state == "bad"
    assert found["token"].finding.startswith("the token cannot be tried (")
    step = "Run zoo doctor again when endpoint and token are right."
    assert found["gated access"] == Check("gated access", "warn", "not tried, for 1 cards", step)
    assert TOKEN not in str(found)


def gate(folder):
    for path in folder.glob("gated-*.md"):
        path.write_text(path.read_text().replace("upstream: apache-2.0}", "upstream: apache-2.0, gated: true}"))


def test_gated_cards(hub, quiet, monkeypatch):
    for name in ("gated-one", "gated-two"):
        publish(hub, quiet, name)
    gate(quiet)
    hub.gated.add("lab/gated-one")
    found = lines()
    assert (found["token"].state, "gated access" in found) == ("warn", False)
    step = f"Accept its terms at {hub.endpoint}/lab/gated-one, then run hf auth login."
    assert found["access to gated-one"] == Check("access to gated-one", "warn", "lab/gated-one is not granted", step)
    assert found["access to gated-two"] == Check("access to gated-two", "ok", "lab/gated-two is granted")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.granted.add(TOKEN)
    assert lines()["access to gated-one"].state == "ok"


def test_a_gated_repo_that_is_gone(quiet):
    write_card(quiet, "gated-gone", "{repo: lab/gone, file: model.safetensors}")
    gate(quiet)
    found = lines()["access to gated-gone"]
    assert (found.state, found.next_step.startswith("The repo or file is gone or private")) == ("bad", True)


def test_the_packages_own_cards_are_sound(monkeypatch):
    monkeypatch.setattr(cards, "folder", OWN)
    found = [check for check in doctor.checks(1) if check.subject.startswith("card")]
    assert [check.state for check in found] == ["ok"]
    assert found[0].finding == f"{len(zoo.names())} are valid"
