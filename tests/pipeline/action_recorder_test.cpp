#include "pipeline/action_recorder.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

std::int64_t fake_time = 0;
std::int64_t num_readings = 0;

std::int64_t fake_now()
{
    ++num_readings;
    return fake_time += 10;
}

} // namespace

BOOST_AUTO_TEST_SUITE(action_recorder)

BOOST_AUTO_TEST_CASE(spans_cover_an_update_without_gap)
{
    ActionRecorder recorder(100, fake_now);
    recorder.start();
    recorder.begin_update(7);
    recorder.begin_action(0, Activity::messages);
    recorder.mark(Activity::data);
    recorder.mark(Activity::compute);
    recorder.begin_action(1, Activity::messages);
    recorder.leave_actions(Activity::optimizer);
    recorder.end_update();
    recorder.stop();
    BOOST_REQUIRE(recorder.updates().size() == 1u);
    const RecordedUpdate& update = recorder.updates()[0];
    BOOST_TEST(update.update == 7);
    const std::pair<std::int32_t, Activity> expected[] = {
        {-1, Activity::other},  {0, Activity::messages}, {0, Activity::data},
        {0, Activity::compute}, {1, Activity::messages}, {-1, Activity::optimizer},
        {-1, Activity::other}, // begins where the update ends
    };
    BOOST_REQUIRE(update.end_span - update.first_span + 1 == std::size(expected));
    for (std::size_t i = 0; i < std::size(expected); ++i) {
        const ActivitySpan& span = recorder.spans()[update.first_span + i];
        BOOST_TEST(span.action == expected[i].first);
        BOOST_TEST((span.activity == expected[i].second));
        BOOST_TEST(span.begin_ns - recorder.spans()[update.first_span].begin_ns ==
                   static_cast<std::int64_t>(10 * i));
    }
}

BOOST_AUTO_TEST_CASE(the_same_activity_again_reads_no_clock)
{
    ActionRecorder recorder(10, fake_now);
    recorder.start();
    recorder.begin_action(3, Activity::messages);
    const std::int64_t before = num_readings;
    recorder.mark(Activity::messages);
    recorder.begin_action(3, Activity::messages);
    BOOST_TEST(num_readings == before);
    recorder.begin_action(4, Activity::messages);
    BOOST_TEST(num_readings == before + 1);
}

BOOST_AUTO_TEST_CASE(it_allocates_nothing_within_what_was_reserved_and_starts_anew)
{
    ActionRecorder recorder(50, fake_now);
    const ActivitySpan* memory = recorder.spans().data();
    for (int stretch = 0; stretch < 3; ++stretch) {
        recorder.start();
        recorder.begin_update(1);
        for (std::int32_t i = 0; i < 40; ++i)
            recorder.begin_action(i, Activity::compute);
        recorder.end_update();
        recorder.stop();
        BOOST_TEST(recorder.spans().data() == memory);
        BOOST_TEST(recorder.updates().size() == 1u);
    }
}

BOOST_AUTO_TEST_CASE(nobody_records_into_nothing) { mark(nullptr, Activity::compute); }

BOOST_AUTO_TEST_CASE(updates_neither_nest_nor_end_twice)
{
    ActionRecorder recorder(10, fake_now);
    recorder.start();
    BOOST_CHECK_THROW(recorder.end_update(), InvariantError);
    recorder.begin_update(1);
    BOOST_CHECK_THROW(recorder.begin_update(2), InvariantError);
    recorder.end_update();
    BOOST_CHECK_THROW(recorder.end_update(), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
