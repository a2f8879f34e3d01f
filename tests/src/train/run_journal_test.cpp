#include "src/train/run_journal.hpp"

#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

using namespace sluice;

namespace {

struct JournalFolder : testing::TemporaryFolder {
    mutable RunFolder folder{path()}; ///< remembers what it has written
    RunConfig config;
    JournalFolder()
    {
        config.run.updates = 3;
        config.batch.global_batch_size = 2;
        config.batch.seq_len = 8;
    }

    std::vector<std::string> metrics() const
    {
        std::ifstream in(folder.metrics());
        std::vector<std::string> lines;
        for (std::string line; std::getline(in, line);)
            lines.push_back(line);
        return lines;
    }
    /// Without its time.
    std::string status() const
    {
        auto status = nlohmann::ordered_json::parse(std::ifstream(folder.status()));
        status.erase("time");
        return status.dump();
    }
};

const std::vector<double> alphas{1.0, 0.5};

RunJournal::Update update_of(std::int64_t number, const std::string& digest)
{
    return {.number = number,
            .batch = number + 4,
            .summary = {.loss = 2.5, .grad_norm = 0.75},
            .lr = 0.25,
            .seconds = 0.5,
            .alphas = alphas,
            .parameters_digest = digest};
}

} // namespace

BOOST_AUTO_TEST_SUITE(run_journal)

BOOST_AUTO_TEST_CASE(an_update_is_one_line_and_has_a_digest_only_where_asked)
{
    const JournalFolder run;
    RunJournal journal(run.config, run.folder, 0);
    journal.updated(update_of(1, ""));
    journal.updated(update_of(2, "abc"));
    journal.measured_activation_norms(2, {1.5, 2.5});
    const auto lines = run.metrics();
    BOOST_TEST_REQUIRE(lines.size() == 3u);
    const std::string rest = R"("loss":2.5,"grad_norm":0.75,"lr":0.25,)";
    BOOST_TEST(lines[0] == R"({"event":"update","update":1,"samples":[8,9],)" + rest +
                               R"("tokens":16,"seconds":0.5,"tokens_per_second":32.0,)"
                               R"("alpha":[1.0,0.5]})");
    BOOST_TEST(lines[1] == R"({"event":"update","update":2,"samples":[10,11],)" + rest +
                               R"("tokens":32,"seconds":0.5,"tokens_per_second":32.0,)"
                               R"("alpha":[1.0,0.5],"parameters_digest":"abc"})");
    BOOST_TEST(lines[2] == R"({"event":"activation_norm","update":2,"rms":[1.5,2.5]})");
}

BOOST_AUTO_TEST_CASE(a_resumed_run_keeps_what_its_checkpoint_has_and_drops_the_rest)
{
    const JournalFolder run;
    {
        RunJournal journal(run.config, run.folder, 0);
        journal.updated(update_of(1, ""));
        journal.updated(update_of(2, ""));
    }
    const RunJournal journal(run.config, run.folder, 1);
    BOOST_TEST(run.metrics().size() == 1u);
    BOOST_TEST(run.status() == R"({"state":"running","update":1,"reason":"","exit_code":0})");
}

BOOST_AUTO_TEST_CASE(the_status_follows_saves_and_the_end)
{
    const JournalFolder run;
    RunJournal journal(run.config, run.folder, 0);
    journal.saved({.update = 2,
                   .parameters_digest = "abc",
                   .seconds = 0.5,
                   .stall_seconds = 0.25,
                   .write_seconds = 0.375});
    BOOST_TEST(run.status() == R"({"state":"running","update":2,"reason":"","exit_code":0})");
    journal.ended({2, false, "stopped by SIGTERM"}, {1.0, 2.0});
    BOOST_TEST(run.status() ==
               R"({"state":"stopped","update":2,"reason":"stopped by SIGTERM","exit_code":75})");
    journal.ended({3, true, "all updates done"}, {1.0, 2.0}, {3.0, 4.0});
    BOOST_TEST(run.status() ==
               R"({"state":"finished","update":3,"reason":"all updates done","exit_code":0})");
    const auto lines = run.metrics();
    BOOST_TEST_REQUIRE(lines.size() == 3u);
    BOOST_TEST(lines[0] == R"({"event":"checkpoint","update":2,"path":")" +
                               (run.folder.checkpoints() / "update-00000002").string() +
                               R"(","parameters_digest":"abc","seconds":0.5,)"
                               R"("stall_seconds":0.25,"write_seconds":0.375})");
    BOOST_TEST(lines[1] == R"({"event":"stop","update":2,"reason":"stopped by SIGTERM",)"
                           R"("peak_resident_bytes":[1,2]})");
    BOOST_TEST(lines[2] == R"({"event":"stop","update":3,"reason":"all updates done",)"
                           R"("peak_resident_bytes":[1,2],"peak_device_bytes":[3,4]})");
}

BOOST_AUTO_TEST_CASE(going_back_leaves_every_update_once_and_says_what_is_skipped)
{
    const JournalFolder run;
    RunJournal journal(run.config, run.folder, 0);
    for (const std::int64_t update : {1, 2, 3})
        journal.updated(update_of(update, ""));
    AnomalyVerdict verdict;
    verdict.anomaly = {AnomalyKind::loss_spike, "a spike", 9.5};
    verdict.update = 4;
    verdict.response = AnomalyResponse::rewind;
    verdict.batches = {3, 4};
    verdict.num_rewinds = 1;
    journal.went_back(verdict, 1);
    const auto lines = run.metrics();
    BOOST_TEST_REQUIRE(lines.size() == 2u);
    BOOST_TEST(lines[1] == R"({"event":"rewind","update":1,"from":4,"to":1,"kind":"loss spike",)"
                           R"("loss":9.5,"skipped_batches":[3,4],"samples":[4,7],)"
                           R"("num_rewinds":1,"reason":"a spike"})");
    const std::string at_checkpoint = R"({"state":"running","update":1,"reason":"","exit_code":0})";
    BOOST_TEST(run.status() == at_checkpoint);
    journal.updated(update_of(2, ""));
    verdict.response = AnomalyResponse::skip; // which saves nothing: a death would go back to 1
    verdict.update = 3;
    journal.went_back(verdict, 2);
    BOOST_TEST(run.status() == at_checkpoint);
}

BOOST_AUTO_TEST_CASE(an_anomaly_names_its_samples_and_what_follows)
{
    const JournalFolder run;
    RunJournal journal(run.config, run.folder, 0);
    AnomalyVerdict verdict;
    verdict.anomaly = {AnomalyKind::not_finite, "a gradient", std::nan("")};
    verdict.update = 4;
    verdict.batches = {4, 4};
    journal.met(verdict);
    BOOST_TEST(run.metrics().at(0) ==
               R"({"event":"anomaly","update":4,"kind":"not finite","response":"stop",)"
               R"("loss":null,"samples":[6,7],"reason":"a gradient","nonfinite":{"loss":"nan"}})");
}

BOOST_AUTO_TEST_CASE(a_slow_rank_is_an_event_with_its_host)
{
    const JournalFolder run;
    RunJournal journal(run.config, run.folder, 0);
    SlowRank slow;
    slow.notice = {.rank = 5, .slowdown = 1.5, .seconds = 0.75, .usual_seconds = 0.5};
    slow.name = "replica 1, rank 5 (stages 1, 3) on n2";
    slow.replica = 1;
    slow.stages = {1, 3};
    slow.host = "n2";
    journal.changed_pace(30, slow);
    BOOST_TEST(run.metrics().at(0) ==
               R"({"event":"straggler","update":30,"rank":5,"replica":1,"stages":[1,3],)"
               R"("host":"n2","recovered":false,"slowdown":1.5,"compute_seconds":0.75,)"
               R"("usual_compute_seconds":0.5,"from_start":false})");
    slow.notice.from_start = true;
    journal.changed_pace(31, slow);
    BOOST_TEST(run.metrics().at(1).find(R"("from_start":true})") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
