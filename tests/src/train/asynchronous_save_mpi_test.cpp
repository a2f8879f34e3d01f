// np: 1 2 4
#include "src/train/asynchronous_save.hpp"

#include "pipeline/agreement.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "src/train/checkpointing.hpp"
#include "tests/mpi_session.hpp"
#include "tests/src/config/run_text_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <filesystem>
#include <sys/resource.h>
#include <unistd.h>

using namespace sluice;
using sluice::testing::shared_transport;
namespace fs = std::filesystem;

namespace {

const ModelSpec model{.vocab_size = 100,
                      .hidden_size = 12,
                      .intermediate_size = 20,
                      .num_layers = 4,
                      .num_heads = 2,
                      .max_seq_len = 4};

/// Two stages in each of so many replicas as there are ranks for; one stage on one rank.
struct Pipelines {
    Pipelines()
        : world(shared_transport()), num_stages(std::min(2, world.num_ranks())),
          replicas(world, world.num_ranks() / num_stages),
          program(with_communication(make_1f1b(num_stages, 1))), report(check_schedule(program)),
          stage(StageOptions{.model = model,
                             .micro_batch = {1, 4},
                             .stream = {.backend = Backend::cpu},
                             .warmup = WarmupSchedule::linear,
                             .warmup_steps = 2,
                             .rank = replicas.pipeline().rank(),
                             .moments = {replicas.index(), replicas.count()},
                             .snapshot = true},
                program, report.slots, partition())
    {
    }
    std::vector<LayerRange> partition() const
    {
        if (num_stages == 1)
            return {{.begin = 0, .end = 4, .embedding = true, .head = true}};
        return {{.begin = 0, .end = 3, .embedding = true}, {.begin = 3, .end = 4, .head = true}};
    }

    /// Every number of weights and moments, from where it belongs and `version`.
    template <class Each>
    void for_each_number(float version, const Each& each)
    {
        for (StageChunk& chunk : stage.chunks())
            for (const Parameter& parameter : chunk.model->parameters()) {
                const auto place = static_cast<float>(1000 * parameter.spec.index) + version;
                for (std::int64_t i = 0; i < parameter.value.num_elements(); ++i)
                    each(parameter.value.as<float>()[i], place + static_cast<float>(i));
                for (std::int64_t i = 0; i < parameter.owned.size(); ++i) {
                    const float element = place + static_cast<float>(parameter.owned.begin + i);
                    each(parameter.first_moment.as<float>()[i], -element);
                    each(parameter.second_moment.as<float>()[i], 2.0f * element);
                }
            }
    }
    void fill(float version)
    {
        for_each_number(version, [](float& number, float expected) { number = expected; });
    }
    std::int64_t num_wrong(float version)
    {
        std::int64_t wrong = 0;
        for_each_number(version, [&](float& found, float expected) { wrong += found != expected; });
        return wrong;
    }
    /// What an update's reduction tells.
    bool any_writes(const AsynchronousSave& save)
    {
        double count = save.writes_here() ? 1.0 : 0.0;
        world.sum({&count, 1});
        return count > 0.0;
    }

    Transport& world;
    int num_stages;
    Replicas replicas;
    Schedule program;
    ScheduleReport report;
    Stage stage;
};

fs::path shared_folder(const char* name)
{
    fs::path folder = fs::temp_directory_path() / (std::string("sluice-asynchronous-") + name +
                                                   "-" + std::to_string(getppid()));
    fs::create_directory(folder); // which one of the ranks does
    return folder;
}

} // namespace

BOOST_AUTO_TEST_SUITE(asynchronous_save)

BOOST_AUTO_TEST_CASE(what_was_there_at_its_begin_is_saved)
{
    Pipelines run;
    const fs::path folder = shared_folder("begin");
    int announced = 0;
    RunConfig config = small();
    AsynchronousSave save(folder, run.stage, run.replicas, config, [&] { ++announced; });
    run.fill(0.25f);
    run.stage.advance_gates();
    BOOST_TEST(!save.under_way());
    save.begin({.update = 1, .samples = 3, .tokens = 5, .seed = 7});
    BOOST_TEST(save.update() == 1);
    // Training goes on.
    run.fill(0.5f);
    run.stage.advance_gates();
    std::optional<SavedCheckpoint> saved;
    int boundaries = 0;
    while (!saved) {
        BOOST_TEST_REQUIRE(save.under_way());
        while (run.any_writes(save))
            usleep(100);
        saved = save.advance();
        ++boundaries;
    }
    BOOST_TEST(boundaries == 2); // the stages' files, then the checkpoint
    BOOST_TEST(!save.under_way());
    BOOST_TEST(announced == (run.world.rank() == 0 ? 1 : 0));
    BOOST_TEST(saved->update == 1);
    BOOST_TEST(saved->stall_seconds <= saved->seconds);
    BOOST_TEST(run.num_wrong(0.5f) == 0);

    const CheckpointReader reader(folder / checkpoint_folder_name(1));
    BOOST_TEST(reader.verify().empty());
    BOOST_TEST(reader.num_stages() == run.num_stages);
    BOOST_TEST(reader.progress().tokens == 5);
    BOOST_TEST((reader.warmup().counters == std::vector<std::int64_t>(4, 1)));
    if (run.world.rank() == 0)
        BOOST_TEST(saved->parameters_digest == reader.parameters_digest());
    restore_stage(reader, run.stage);
    BOOST_TEST(run.num_wrong(0.25f) == 0);
    run.world.barrier();
    on_rank_zero(run.world, [&] { fs::remove_all(folder); });
}

// The same bytes as a save that training waits for.
BOOST_AUTO_TEST_CASE(the_checkpoint_is_the_one_of_a_save_that_waits)
{
    Pipelines run;
    const fs::path folder = shared_folder("same");
    for (const char* part : {"a", "b"})
        fs::create_directory(folder / part);
    const RunConfig config = small();
    AsynchronousSave save(folder / "a", run.stage, run.replicas, config, [] {});
    for (const std::int64_t update : {1, 2}) {
        run.fill(static_cast<float>(update));
        save.begin({.update = update});
        run.fill(9.0f);
        const SavedCheckpoint saved = save.finish();
        BOOST_TEST(saved.write_seconds > 0.0);
        run.fill(static_cast<float>(update));
        save_checkpoint(folder / "b", run.stage, run.replicas, {.update = update}, config);
        const std::string name = checkpoint_folder_name(update);
        const CheckpointReader a(folder / "a" / name), b(folder / "b" / name);
        BOOST_TEST(a.state_digest() == b.state_digest());
        for (std::size_t file = 0; file < a.manifest().size(); ++file)
            BOOST_TEST(a.manifest()[file].checksum == b.manifest()[file].checksum);
    }
    run.world.barrier();
    on_rank_zero(run.world, [&] { fs::remove_all(folder); });
}

BOOST_AUTO_TEST_CASE(a_write_that_fails_fails_the_save_on_all_ranks)
{
    Pipelines run;
    const fs::path folder = shared_folder("full");
    RunConfig config = small();
    AsynchronousSave save(folder, run.stage, run.replicas, config, [] {});
    run.fill(1.0f);
    save.begin({.update = 1});
    save.finish();
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit old{};
    getrlimit(RLIMIT_FSIZE, &old);
    const rlimit tight{8000, old.rlim_max};
    if (run.world.rank() == run.num_stages - 1)
        setrlimit(RLIMIT_FSIZE, &tight);
    run.fill(2.0f);
    save.begin({.update = 2});
    BOOST_CHECK_THROW(save.finish(), AgreedError);
    setrlimit(RLIMIT_FSIZE, &old);
    BOOST_TEST(!save.under_way());
    run.world.barrier();
    BOOST_TEST(list_checkpoints(folder).size() == 1u);
    BOOST_TEST(!fs::exists(folder / partial_folder_name(2)));
    // The next one finds nothing in its way.
    save.begin({.update = 3});
    save.finish();
    restore_stage(CheckpointReader(folder / checkpoint_folder_name(3)), run.stage);
    BOOST_TEST(run.num_wrong(2.0f) == 0);
    run.world.barrier();
    on_rank_zero(run.world, [&] { fs::remove_all(folder); });
}

BOOST_AUTO_TEST_CASE(it_is_not_complete_before_what_must_come_first)
{
    Pipelines run;
    const fs::path folder = shared_folder("order");
    const RunConfig config = small();
    bool was_there = true;
    AsynchronousSave save(folder, run.stage, run.replicas, config, [&] {
        was_there = fs::exists(folder / checkpoint_folder_name(1));
        throw data_error("the metrics cannot be synced", "metrics.jsonl");
    });
    save.begin({.update = 1});
    BOOST_CHECK_THROW(save.finish(), AgreedError);
    BOOST_TEST(was_there == (run.world.rank() != 0));
    run.world.barrier();
    BOOST_TEST(list_checkpoints(folder).empty());
    run.world.barrier();
    on_rank_zero(run.world, [&] { fs::remove_all(folder); });
}

BOOST_AUTO_TEST_SUITE_END()
