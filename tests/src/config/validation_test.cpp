#include "src/config/layout.hpp"
#include "src/config/validation.hpp"

#include "src/config/layout.hpp"
#include "tests/src/config/run_text_fixture.hpp"

using namespace sluice;

BOOST_AUTO_TEST_SUITE(validation)

struct Impossible {
    std::vector<std::string> overrides;
    std::vector<std::string> fragments;
};

BOOST_AUTO_TEST_CASE(impossible_combinations_name_the_nearest_possible_value)
{
    const std::vector<Impossible> cases{
        {{"model.num_heads=5"}, {"5 heads, hidden_size 64", "num_heads = 4"}},
        {{"model.num_heads=64"}, {"1 wide", "even", "num_heads = 32"}},
        {{"model.hidden_size=1536", "model.num_heads=4"},
         {"384 wide", "on CPUs takes up to 256", "num_heads = 6"}},
        {{"model.hidden_size=1536", "model.num_heads=6", "run.device=cuda"},
         {"256 wide", "on GPUs takes up to 128", "num_heads = 12"}},
        {{"model.hidden_size=63"}, {"do not divide", "hidden_size, like 64"}},
        {{"batch.micro_batch_size=3"},
         {"3 sequences does not divide", "512", "micro_batch_size = 2"}},
        {{"batch.seq_len=2048"}, {"longer than model.max_seq_len = 1024", "seq_len = 1024"}},
        {{"batch.global_batch_size=2000000"}, {"2000000 micro-batches", "at most 1000000"}},
        {{"run.updates=1000000000", "batch.global_batch_size=10000000",
          "batch.micro_batch_size=1000", "batch.seq_len=8388608", "model.max_seq_len=8388608",
          "eval.tokens=8388608"},
         {"63 bits", "run.updates = "}},
        {{"lr_schedule.warmup_steps=1001"},
         {"--set lr_schedule.warmup_steps=1001", "longer than the whole run of 1000",
          "warmup_steps = 1000"}},
        {{"lr_schedule.warmup_steps=950"}, {"950 updates) and decay (100)", "warmup_steps = 900"}},
        {{"prores.total_warmup_steps=100"}, {"no multiple of the 6 layers", "96 or 102"}},
        {{"prores.total_warmup_steps=3"}, {"no multiple", "possible: 6"}},
        {{"prores.total_warmup_steps=12", "prores.warmup_steps=2"},
         {"--set prores.total_warmup_steps=12", "prores.warmup_steps (T", "keep one"}},
        {{"pipeline.partition=4,3"}, {"hold 7 layers", "model has 6", "\"auto\""}},
        {{"pipeline.partition=4,"}, {"not a partition", "\"7,5\""}},
        {{"pipeline.partition=0,6"}, {"not a partition", "at least one"}},
        {{"pipeline.partition=3,0,3"}, {"not a partition", "at least one"}},
        {{"pipeline.partition=9223372036854775807,9223372036854775807"}, {"not a partition"}},
        {{"pipeline.schedule=1f1b", "pipeline.chunks_per_rank=2"},
         {"1f1b gives every rank one chunk", "interleaved-1f1b"}},
        {{"pipeline.schedule=zb-h1", "pipeline.chunks_per_rank=2"},
         {"one chunk", "interleaved-zb"}},
        {{"pipeline.schedule=interleaved-zb"}, {"is zb-h1", "chunks_per_rank = 2"}},
        {{"pipeline.schedule=zb-v", "pipeline.chunks_per_rank=3"}, {"two chunks"}},
        {{"pipeline.schedule=zb-v", "pipeline.extra_warmup=1"}, {"zb-v", "extra_warmup = 0"}},
        {{"pipeline.schedule=custom"}, {"pipeline.schedule_file", "--print-schedule"}},
        {{"pipeline.schedule_file=x"}, {"\"custom\" only"}},
        {{"pipeline.partition=atuo"}, {"not a partition", "\"auto\""}},
        {{"pipeline.schedule=gpipe", "pipeline.extra_warmup=1"}, {"gpipe", "extra_warmup = 0"}},
        {{"precision.attention=cudnn"},
         {"heads of 64 or 128 channels, not of 16", "precision.attention", "attention = \"own\""}},
        {{"precision.attention=cudnn", "model.num_heads=1", "precision.compute=fp32"},
         {"in bf16, not in f32", "precision.attention", "attention = \"own\""}},
        {{"precision.attention=cudnn", "model.num_heads=1", "batch.seq_len=1"},
         {"at least 2 tokens"}},
        {{"precision.compute=fp64", "run.device=cuda"},
         {"fp64 is computed on CPUs alone", "run.device", "device = \"cpu\""}},
        {{"precision.compute=bf16", "precision.tf32=true"},
         {"tf32 = true is for products of fp32", "bf16", "precision.tf32", "compute = \"fp32\""}},
        {{"precision.compute=fp64", "precision.tf32=true"}, {"products of fp32", "fp64"}},
        {{"eval.tokens=255"}, {"255 tokens", "one sequence of 256", "tokens = 256"}},
    };
    for (const Impossible& impossible : cases) {
        const std::string message = message_of(small_run, impossible.overrides);
        BOOST_TEST(!message.empty(), "accepted: " << impossible.overrides.front());
        check_mentions(message, impossible.fragments);
    }
}

BOOST_AUTO_TEST_CASE(combinations_name_the_line_that_was_written)
{
    check_mentions(message_of(small_run + "micro_batch_size = 3\n"),
                   {"run.toml:15: batch.micro_batch_size: "});
    check_mentions(message_of(small_run + "[lr_schedule]\nwarmup_steps = 1001\n"),
                   {"run.toml:16: lr_schedule.warmup_steps: "});
    check_mentions(message_of(small_run + "[prores]\nwarmup_steps = 1\ntotal_warmup_steps = 6\n"),
                   {"run.toml:17: prores.total_warmup_steps: "});
}

BOOST_AUTO_TEST_CASE(missing_keys_are_named_with_a_way_out)
{
    const auto without = [](const std::string& line) {
        std::string text = small_run;
        const auto at = text.find(line);
        BOOST_REQUIRE(at != std::string::npos);
        return message_of(text.erase(at, line.size()));
    };
    check_mentions(without("hidden_size = 64\n"),
                   {"run.toml: model.hidden_size is missing", "llama-71m"});
    check_mentions(without("num_layers = 6\n"), {"model.num_layers is missing"});
    check_mentions(without("lr = 0.001\n"), {"optimizer.lr is missing"});
    check_mentions(without("updates = 1000\n"), {"run.updates is missing"});
    check_mentions(without("train = \"tokens.h5\"\n"), {"data.train is missing", "data prepare"});
}

BOOST_AUTO_TEST_CASE(an_answer_to_spikes_needs_them_looked_for)
{
    check_mentions(message_of(small_run + "[anomaly]\non_spike = \"rewind\"\n"),
                   {"no spike is looked for", "loss_spike_sigma = 7"});
    check_mentions(message_of(small_run + "[anomaly]\non_nonfinite = \"warn\"\n"),
                   {"write stop, skip or rewind"});
    BOOST_TEST(
        small({"anomaly.on_spike=rewind", "anomaly.loss_spike_sigma=7"}).anomaly.reach_back() ==
        100);
    BOOST_TEST(small({"anomaly.on_nonfinite=skip"}).anomaly.reach_back() == 0);
}

BOOST_AUTO_TEST_CASE(limits_themselves_are_possible)
{
    BOOST_TEST(small({"lr_schedule.warmup_steps=900"}).lr_schedule.warmup_steps == 900);
    BOOST_TEST(small({"lr_schedule.warmup_steps=1000", "lr_schedule.kind=constant"})
                   .lr_schedule.warmup_steps == 1000);
    BOOST_TEST(small({"eval.tokens=256"}).eval.tokens == 256);
    BOOST_TEST(small({"model.num_heads=32"}).model.head_dim() == 2);
    BOOST_TEST(small({"pipeline.partition=1, 2,3"}).pipeline.partition == "1, 2,3");
}

BOOST_AUTO_TEST_CASE(total_warmup_is_T_times_layers)
{
    BOOST_TEST(small({"prores.total_warmup_steps=12"}).prores.warmup_steps == 2);
    BOOST_TEST(
        small({"prores.total_warmup_steps=13", "prores.schedule=equal"}).prores.warmup_steps == 13);
    // An override of one replaces the other in the file.
    const std::string file = small_run + "[prores]\nwarmup_steps = 5\n";
    BOOST_TEST(parsed(file, {"prores.total_warmup_steps=12"}).prores.warmup_steps == 2);
    const std::string other = small_run + "[prores]\ntotal_warmup_steps = 12\n";
    BOOST_TEST(parsed(other, {"prores.warmup_steps=7"}).prores.warmup_steps == 7);
}

std::string layout_message(const RunConfig& config, std::int64_t num_ranks,
                           RanksOption said_by = {})
{
    try {
        check_layout(config, num_ranks, said_by);
    } catch (const UserError& error) {
        BOOST_TEST((error.code() == ExitCode::usage));
        return error.what();
    }
    return {};
}

BOOST_AUTO_TEST_CASE(layouts_need_a_layer_per_stage)
{
    const RunConfig config = small();
    for (int num_ranks = 1; num_ranks <= 6; ++num_ranks)
        BOOST_TEST(layout_message(config, num_ranks).empty());
    check_mentions(layout_message(config, 7), {"7 ranks", "model.num_layers = 6", "mpirun -n 6"});
    const auto message_to = [&](RanksOption said_by) { return layout_message(config, 7, said_by); };
    check_mentions(message_to({.name = "--stages", .ranks_each = 2}), {"6 ranks: --stages 3"});
    check_mentions(message_to({.name = "--nodes", .ranks_each = 7}), {"start at most 6 ranks"});
    BOOST_TEST(message_to({.name = "--nodes", .ranks_each = 7}).find("--nodes") ==
               std::string::npos);
    BOOST_TEST(!layout_message(config, 0).empty());
    check_mentions(layout_message(config, 4'294'967'298), // 2 in 32 bits
                   {"layout of 4294967298 ranks", "at most 1000000"});
    const RunConfig by_hand = small({"pipeline.partition=4,2"});
    BOOST_TEST(layout_message(by_hand, 2).empty());
    check_mentions(layout_message(by_hand, 3), {"\"4,2\" names 2 chunks", "partition=auto"});
}

BOOST_AUTO_TEST_CASE(layers_per_chunk_are_whole_numbers_between_commas)
{
    BOOST_TEST((layers_per_chunk(" 7, 5 ,0", "here") == std::vector<std::int64_t>{7, 5, 0}));
    for (const char* wrong :
         {"", "0", "7,,5", "7,5,", ",7", "6,x", "13,-1", "7;5", "99999999999999999999,1", "6,6.0"})
        BOOST_CHECK_EXCEPTION(layers_per_chunk(wrong, "here"), UserError, [](const UserError& e) {
            return e.code() == ExitCode::usage && e.where() == "here";
        });
}

BOOST_AUTO_TEST_CASE(replicas_share_ranks_and_micro_batches_evenly)
{
    const RunConfig config = small({"pipeline.replicas=4"});
    for (const int num_ranks : {4, 8, 24})
        BOOST_TEST(layout_message(config, num_ranks).empty());
    check_mentions(layout_message(config, 6), {"replicas = 4", "start 4 or 8 ranks", "replicas=3"});
    check_mentions(layout_message(config, 2), {"start 4 ranks", "replicas=2"});
    check_mentions(layout_message(config, 28),
                   {"28 ranks in 4 replicas", "model.num_layers = 6", "mpirun -n 24"});
    check_mentions(layout_message(small({"pipeline.replicas=2", "pipeline.partition=4,2"}), 6),
                   {"names 2 chunks", "the schedule has 3"});
    check_mentions(message_of(small_run, {"batch.global_batch_size=10", "batch.micro_batch_size=1",
                                          "pipeline.replicas=4"}),
                   {"4 replicas", "10 micro-batches", "replicas = 5", "global_batch_size = 12"});
}

BOOST_AUTO_TEST_SUITE_END()
