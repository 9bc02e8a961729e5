"""The policy resource with a server: the same options as the command line, the key from the environment."""

from pathlib import Path

import pytest
from stand_in_server import StandIn

from prover.policy.server import ServerPolicy, ServerPolicyError
from prover_assets.defs.resources import PolicyResource


def test_a_server_with_its_key_and_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVER_DATA", str(tmp_path))
    monkeypatch.setenv("LAB_KEY", "abc")
    with StandIn() as server:
        server.start()
        resource = PolicyResource(path=f"{server.url}#m", template="bfs-prover/1", api_key_env="LAB_KEY")
        policy = resource.load()
        assert isinstance(policy, ServerPolicy)
        assert policy.template.name == "bfs-prover/1"
        assert server.headers_seen[0]["Authorization"] == "Bearer abc"
        with pytest.raises(ServerPolicyError, match="--encoder"):
            policy.encode_only(["⊢ p"])
        server.shutdown()
    PolicyResource.forget()
