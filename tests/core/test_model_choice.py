"""Which model is chosen for a request that names none."""

from uuid import UUID, uuid4

from core.model_choice import Promotion, bucket, choose_model

TENANT, OTHER = UUID(int=1), UUID(int=2)


def chosen(promotions: list[Promotion], video: UUID | None = None, override: str | None = None, tenant: UUID = TENANT) -> tuple[str, str]:
    choice = choose_model(promotions, override, "builtin", tenant, video or uuid4())
    return choice.version, choice.reason


def test_the_built_in_model_runs_until_another_is_promoted() -> None:
    """The newest promotion decides, and the setting overrides it; the reason says which."""
    both = [Promotion(2, "new", 100, None), Promotion(1, "old", 100, None)]
    assert chosen([]) == ("builtin", "built in")
    assert chosen(both) == ("new", "promotion 2")
    assert chosen(both, override="pinned") == ("pinned", "EXTENTS_MODEL_VERSION")


def test_a_tenants_promotion_is_its_own() -> None:
    """A tenant's promotion overrides newer ones for all, and does not affect other tenants."""
    both = [Promotion(2, "new", 100, None), Promotion(1, "theirs", 100, TENANT)]
    assert chosen(both)[0] == "theirs"
    assert chosen(both, tenant=OTHER)[0] == "new"


def test_a_video_stays_on_its_side() -> None:
    """A promotion for a share of videos always picks the same ones, and a greater share includes those of a smaller one."""
    videos = [UUID(int=number) for number in range(2000)]
    small = {video for video in videos if chosen([Promotion(1, "new", 10, None)], video)[0] == "new"}
    large = {video for video in videos if chosen([Promotion(2, "new", 50, None)], video)[0] == "new"}
    assert small < large
    assert 0.07 < len(small) / len(videos) < 0.13
    assert small == {video for video in videos if bucket(video) < 10}


def test_what_is_outside_a_share_is_left_to_the_promotion_before() -> None:
    """Videos outside a promotion's share get the model that was promoted before."""
    both = [Promotion(2, "new", 10, None), Promotion(1, "old", 100, None)]
    outside = next(UUID(int=number) for number in range(1000) if bucket(UUID(int=number)) >= 10)
    assert chosen(both, outside) == ("old", "promotion 1")
