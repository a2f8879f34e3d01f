// np: 2 3 4
#include "src/train/checkpointing.hpp"

#include "core/bfloat16.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "tests/mpi_session.hpp"
#include "tests/src/config/run_text_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <cstdlib>
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
                      .num_layers = 3,
                      .num_heads = 2,
                      .max_seq_len = 4};

void put(const TensorView& tensor, std::int64_t i, float number)
{
    if (tensor.dtype == DType::bf16)
        tensor.as<BFloat16>()[i] = bfloat16_of(number);
    else
        tensor.as<float>()[i] = number;
}

/// Whether element `i` is `number`, as far as the tensor can hold it.
bool holds(const TensorView& tensor, std::int64_t i, float number)
{
    return tensor.dtype == DType::bf16 ? tensor.as<BFloat16>()[i].bits == bfloat16_of(number).bits
                                       : tensor.as<float>()[i] == number;
}

/// A replica of one stage that holds part `shard.index` of `shard.count` of the optimizer's state.
struct OneStage {
    explicit OneStage(MomentShard shard, const Precision& precision = {})
        : stage(StageOptions{.model = model,
                             .micro_batch = {1, 4},
                             .stream = {.backend = Backend::cpu},
                             .warmup = WarmupSchedule::off,
                             .warmup_steps = 1,
                             .rank = 0,
                             .moments = shard,
                             .precision = precision},
                program, report.slots, {{.begin = 0, .end = 3, .embedding = true, .head = true}})
    {
    }
    Schedule program = with_communication(make_1f1b(1, 1));
    ScheduleReport report = check_schedule(program);
    Stage stage;

    std::span<Parameter> parameters() { return stage.chunks().front().model->parameters(); }

    /// Calls each(tensor, element, number) for every weight, master and moment held here.
    template <class Each>
    void for_each_number(const Each& each)
    {
        for (const Parameter& parameter : parameters()) {
            const auto place = static_cast<float>(1000 * parameter.spec.index);
            for (std::int64_t i = 0; i < parameter.value.num_elements(); ++i)
                each(parameter.value, i, place + static_cast<float>(i) + 0.25f);
            for (std::int64_t i = 0; i < parameter.owned.size(); ++i) {
                const float element = place + static_cast<float>(parameter.owned.begin + i);
                if (parameter.has_master())
                    each(parameter.master, i, element + 0.25f);
                each(parameter.first_moment, i, element + 0.5f);
                each(parameter.second_moment, i, -element);
            }
        }
    }
    std::int64_t num_wrong()
    {
        std::int64_t wrong = 0;
        for_each_number([&](const TensorView& tensor, std::int64_t i, float number) {
            wrong += !holds(tensor, i, number);
        });
        return wrong;
    }
};

/// One folder for all ranks.
fs::path shared_folder(const char* name)
{
    fs::path folder = fs::temp_directory_path() /
                      (std::string("sluice-") + name + "-" + std::to_string(getppid()));
    fs::create_directory(folder); // which one of the ranks does
    return folder;
}

} // namespace

BOOST_AUTO_TEST_SUITE(checkpointing)

BOOST_AUTO_TEST_CASE(moments_of_all_replicas_are_saved_and_load_at_any_number)
{
    Transport& world = shared_transport();
    const Replicas replicas(world, world.num_ranks());
    for (const Precision& precision : {fp32_precision, bf16_precision, pure_bf16_precision}) {
        OneStage saved({replicas.index(), replicas.count()}, precision);
        saved.for_each_number(put);
        const fs::path folder = shared_folder("moments");
        const std::string digest =
            save_checkpoint(folder, saved.stage, replicas, {.update = 3}, small());
        BOOST_TEST(saved.num_wrong() == 0);
        const std::string own = parameters_digest(saved.stage, replicas);
        if (replicas.index() == 0)
            BOOST_TEST(own == digest);

        const CheckpointReader reader(folder / checkpoint_folder_name(3));
        BOOST_TEST(reader.verify().empty());
        BOOST_TEST(reader.num_stages() == 1);
        for (const auto& array : reader.arrays())
            BOOST_TEST((array.dtype == DType::f32), array.path);
        for (const MomentShard shard :
             {MomentShard{0, 1}, MomentShard{world.rank(), world.num_ranks()},
              MomentShard{world.rank(), 7}, MomentShard{6, 7}}) {
            OneStage loaded(shard, precision);
            restore_stage(reader, loaded.stage);
            BOOST_TEST(loaded.num_wrong() == 0, name_of(precision.state) << " part " << shard.index
                                                                         << " of " << shard.count);
        }
        world.barrier();
        on_rank_zero(world, [&] { fs::remove_all(folder); });
    }
}

// Not made anew below: what else the run has written is gone with its folder.
BOOST_AUTO_TEST_CASE(a_run_folder_that_has_been_removed_is_missed)
{
    Transport& world = shared_transport();
    const Replicas replicas(world, world.num_ranks());
    OneStage stage({replicas.index(), replicas.count()});
    const fs::path run_dir = shared_folder("removed"), checkpoints = run_dir / "checkpoints";
    world.barrier();
    on_rank_zero(world, [&] { fs::remove_all(run_dir); });
    BOOST_CHECK_EXCEPTION(
        save_checkpoint(checkpoints, stage.stage, replicas, {.update = 4}, small()), AgreedError,
        [&](const AgreedError& error) {
            return error.code() == ExitCode::data &&
                   error.where().ends_with(checkpoints.string()) &&
                   error.problem().find("has been removed or moved") != std::string::npos;
        });
    BOOST_TEST(!fs::exists(run_dir));
}

// The file system refuses in the middle of the moments: nobody may be left waiting.
BOOST_AUTO_TEST_CASE(a_save_that_fails_fails_on_all_replicas)
{
    Transport& world = shared_transport();
    const Replicas replicas(world, world.num_ranks());
    OneStage stage({replicas.index(), replicas.count()});
    const fs::path folder = shared_folder("full");
    rlimit old{};
    getrlimit(RLIMIT_FSIZE, &old);
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit tight{20000, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tight);
    BOOST_CHECK_THROW(save_checkpoint(folder, stage.stage, replicas, {.update = 4}, small()),
                      AgreedError);
    setrlimit(RLIMIT_FSIZE, &old);
    BOOST_TEST(list_checkpoints(folder).empty());
    // Nor may a message be left over for the next save.
    stage.for_each_number(put);
    save_checkpoint(folder, stage.stage, replicas, {.update = 4}, small());
    OneStage loaded({0, 1});
    restore_stage(CheckpointReader(folder / checkpoint_folder_name(4)), loaded.stage);
    BOOST_TEST(loaded.num_wrong() == 0);
    world.barrier();
    on_rank_zero(world, [&] { fs::remove_all(folder); });
}

BOOST_AUTO_TEST_SUITE_END()
