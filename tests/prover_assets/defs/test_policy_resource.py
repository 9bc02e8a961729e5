"""The limits of a local model, in the resource `policy`."""

from prover_assets.defs.resources import PolicyResource


def test_limits_are_set_and_are_the_same_on_other_machines() -> None:
    resource = PolicyResource(device="cpu", threads=1, max_prompt_tokens=40, max_encoding_tokens=30)
    usual = PolicyResource(device="cpu", threads=1).load()
    here, elsewhere = resource.load(), resource.recipe().open()
    PolicyResource.forget()
    assert here.decoding.max_encoding_tokens == 30
    assert here.decoding.max_prompt_tokens == 40
    assert (here.fingerprint, here.encoder_fingerprint) == (elsewhere.fingerprint, elsewhere.encoder_fingerprint)
    assert here.encoder_fingerprint != usual.encoder_fingerprint
