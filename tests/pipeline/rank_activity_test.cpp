#include "pipeline/rank_activity.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(rank_activity)

BOOST_AUTO_TEST_CASE(says_what_was_published_and_that_it_changed)
{
    RankActivity activity;
    const auto before = activity.state().changes;
    activity.begin_update(5);
    activity.begin_action({ActionKind::backward, 2, 3});
    activity.wait_for(WaitKind::receiving, 7);
    RankState state = activity.state();
    BOOST_TEST(state.changes > before);
    BOOST_TEST(state.update == 5);
    BOOST_TEST((state.phase == RankPhase::training));
    BOOST_TEST(state.in_action);
    BOOST_TEST((state.action == Action{ActionKind::backward, 2, 3}));
    BOOST_TEST((state.wait == WaitKind::receiving));
    BOOST_TEST(state.partner == 7);

    activity.go_on();
    activity.leave_actions(Activity::optimizer);
    state = activity.state();
    BOOST_TEST((state.wait == WaitKind::none));
    BOOST_TEST(!state.in_action);
    BOOST_TEST((state.activity == Activity::optimizer));
    BOOST_TEST(activity.state().changes == state.changes);
}

BOOST_AUTO_TEST_CASE(what_is_presumed_lasts_until_a_wait_is_known)
{
    RankActivity activity;
    const RankWait for_rank_3{.kind = WaitKind::sending, .partner = 3};
    const RankWait together{.kind = WaitKind::collective,
                            .collective = {.first = 1, .stride = 2, .count = 3, .number = 4}};
    const auto before = activity.state().changes;
    activity.presume(for_rank_3);
    RankState state = activity.state();
    BOOST_TEST(state.changes > before);
    BOOST_TEST(state.presumed);
    BOOST_TEST((state.wait == WaitKind::sending));
    BOOST_TEST(state.partner == 3);
    activity.presume(together);
    state = activity.state();
    BOOST_TEST(state.presumed);
    BOOST_TEST((state.collective == together.collective));
    activity.wait_for(for_rank_3);
    BOOST_TEST(!activity.state().presumed);
    activity.presume(together);
    activity.wait_for(together);
    BOOST_TEST(!activity.state().presumed);
    activity.presume(together);
    activity.go_on();
    BOOST_TEST(!activity.state().presumed);
    activity.presume({});
    BOOST_TEST(!activity.state().presumed);
    BOOST_TEST((activity.state().wait == WaitKind::none));
}

BOOST_AUTO_TEST_CASE(a_collective_lasts_as_long_as_its_scope)
{
    RankActivity activity;
    const CollectiveCall call{.first = 1, .stride = 2, .count = 3, .communicator = 4, .number = 5};
    {
        const InCollective waiting(&activity, call);
        BOOST_TEST((activity.state().wait == WaitKind::collective));
        BOOST_TEST((activity.state().collective == call));
    }
    BOOST_TEST((activity.state().wait == WaitKind::none));
    const InCollective nobody_asks(nullptr, call);
}

BOOST_AUTO_TEST_SUITE_END()
