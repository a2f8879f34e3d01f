#include "src/trace/run_tracer.hpp"

#include "core/error.hpp"
#include "src/trace/trace_events.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(run_tracer)

BOOST_AUTO_TEST_CASE(absurd_ranges_are_refused_with_the_numbers)
{
    const Schedule program = with_communication(make_1f1b(4, 64));
    const std::vector<LayerRange> partition{
        {0, 1, true, false}, {1, 2}, {2, 3}, {3, 4, false, true}};
    const TracedRun run{program, partition, {}, "1f1b", 1, 8};
    const std::int64_t most = most_trace_events / trace_size(run).events_per_update;
    RunTracer(run, {{1, most}, {2 * most, 2 * most + 1}}, "nowhere", Stream{});
    try {
        RunTracer(run, {{5, most + 5}}, "nowhere", Stream{});
        BOOST_ERROR("accepted");
    } catch (const UserError& error) {
        BOOST_TEST((error.code() == ExitCode::usage));
        BOOST_TEST(error.where() == "trace.updates");
        BOOST_TEST(error.problem().find("3 million is the most") != std::string::npos);
        BOOST_TEST(error.remedy().find("5-" + std::to_string(most + 4)) != std::string::npos);
    }
}

BOOST_AUTO_TEST_CASE(it_records_within_its_ranges_only)
{
    const Schedule program = with_communication(make_1f1b(1, 1));
    const std::vector<LayerRange> partition{{0, 1, true, true}};
    const testing::TemporaryFolder folder;
    const auto transport = make_in_process_transport();
    RunTracer tracer({program, partition, {}, "1f1b", 1, 8}, {{2, 3}, {6, 9}}, folder.path(),
                     Stream{});
    std::string traced;
    // The run enters the second range in its middle and stops before its end.
    for (const std::int64_t update : {1, 2, 3, 4, 7, 8}) {
        tracer.before_update(*transport, update);
        if (ActionRecorder* recorder = tracer.recorder()) {
            recorder->begin_update(update);
            for (std::int32_t i = 0; i < 2; ++i)
                recorder->begin_action(i, Activity::compute);
            recorder->leave_actions(Activity::reduction);
            recorder->end_update();
        }
        if (const auto written = tracer.after_update(*transport, update, update == 8)) {
            traced += written->trace.filename().string() + " ";
            BOOST_TEST(std::filesystem::exists(written->trace));
            BOOST_TEST(std::filesystem::exists(written->ledger));
        }
        BOOST_TEST((tracer.recorder() != nullptr) == (update == 2 || update == 7));
    }
    BOOST_TEST(traced == "update-000002-000003.json update-000007-000008.json ");
}

BOOST_AUTO_TEST_SUITE_END()
