#include "src/config/run_key.hpp"
#include "tests/src/config/run_text_fixture.hpp"

using namespace sluice;

BOOST_AUTO_TEST_SUITE(differences)

std::vector<std::string> against_small(const std::vector<std::string>& overrides)
{
    return differences_in_result(small(), small(overrides));
}

BOOST_AUTO_TEST_CASE(equal_runs_have_none) { BOOST_TEST(against_small({}).empty()); }

BOOST_AUTO_TEST_CASE(keys_that_change_the_result_are_listed_with_both_values)
{
    const auto found = against_small(
        {"optimizer.lr=0.002", "model.arrangement=post", "lr_schedule.warmup_steps=100"});
    BOOST_REQUIRE(found.size() == 2U); // 100 is what the small run has by default
    BOOST_TEST(found[0] == "model.arrangement: saved \"pre\", now \"post\"");
    BOOST_TEST(found[1] == "optimizer.lr: saved 0.001, now 0.002");
    for (const char* change :
         {"model.vocab_size=258", "model.init=ds", "prores.schedule=off", "prores.warmup_steps=3",
          "optimizer.betas=[0.9, 0.99]", "optimizer.weight_decay=0", "lr_schedule.min_lr_ratio=0.1",
          "batch.global_batch_size=256", "batch.micro_batch_size=2", "batch.seq_len=128",
          "precision.compute=fp64", "precision.compute=bf16", "precision.compute=pure-bf16",
          "precision.tf32=true", "run.seed=1", "run.updates=1001", "data.train=/other.h5"})
        BOOST_TEST(against_small({change}).size() == 1U, change);
}

BOOST_AUTO_TEST_CASE(whose_attention_it_is_changes_the_result)
{
    const std::vector<std::string> own{"model.num_heads=1"};
    const auto found = differences_in_result(
        small(own), small({"model.num_heads=1", "precision.attention=cudnn"}));
    BOOST_REQUIRE(found.size() == 1U);
    BOOST_TEST(found[0] == "precision.attention: saved \"own\", now \"cudnn\"");
}

BOOST_AUTO_TEST_CASE(what_auto_stands_for_is_no_difference)
{
    BOOST_TEST(against_small({"precision.compute=fp32"}).empty());
    RunConfig on_gpu = small();
    on_gpu.run.device = "cuda";
    const auto found = differences_in_result(small(), on_gpu);
    BOOST_REQUIRE(found.size() == 1U);
    BOOST_TEST(found[0] == "precision.compute: saved \"fp32\", now \"bf16\"");
    settle_precision(on_gpu);
    BOOST_TEST((on_gpu.precision == ComputePrecision::bf16));
    BOOST_TEST((element_types(on_gpu) == bf16_precision));
    BOOST_TEST((element_types(small()) == fp32_precision));
    BOOST_TEST((element_types(small({"precision.compute=fp64"})) == fp64_precision));
    BOOST_TEST((element_types(small({"precision.compute=pure-bf16"})) == pure_bf16_precision));
}

BOOST_AUTO_TEST_CASE(layout_never_appears)
{
    const auto found = against_small({"pipeline.schedule=gpipe",
                                      "pipeline.partition=5,1",
                                      "pipeline.verify_transfers=false",
                                      "pipeline.graphs=true",
                                      "data.validation=/v.h5",
                                      "checkpoint.every_updates=3",
                                      "checkpoint.keep_last=0",
                                      "checkpoint.keep_every=9",
                                      "checkpoint.asynchronous=true",
                                      "checkpoint.on_failure=continue",
                                      "eval.every_updates=0",
                                      "eval.tokens=512",
                                      "metrics.activation_norm_every=1",
                                      "metrics.digest_every_update=true",
                                      "run.device=cpu",
                                      "run.threads_per_rank=2",
                                      "run.start_seconds=60",
                                      "anomaly.on_nonfinite=rewind",
                                      "anomaly.loss_spike_sigma=7",
                                      "anomaly.spike_window=9",
                                      "anomaly.on_spike=skip",
                                      "anomaly.rewind_updates=8",
                                      "anomaly.max_rewinds=2",
                                      "anomaly.repeat_every=3"});
    BOOST_TEST(found.empty(), (found.empty() ? "" : found.front()));
}

BOOST_AUTO_TEST_CASE(replicas_change_the_rounding_only)
{
    BOOST_TEST(against_small({"pipeline.replicas=4"}).empty());
    const auto found = differences_in_rounding(small(), small({"pipeline.replicas=4"}));
    BOOST_REQUIRE(found.size() == 1U);
    BOOST_TEST(found[0] == "pipeline.replicas: saved 1, now 4");
    BOOST_TEST(differences_in_rounding(small(), small({"optimizer.lr=0.002"})).empty());
}

BOOST_AUTO_TEST_CASE(length_matters_unless_the_rate_is_constant)
{
    const std::string constant = "lr_schedule.kind=constant", warmup = "lr_schedule.warmup_steps=5";
    BOOST_TEST(differences_in_result(small({constant, warmup}),
                                     small({constant, warmup, "run.updates=2000"}))
                   .empty());
    BOOST_TEST(differences_in_result(small({warmup}), small({warmup, "run.updates=2000"})).size() ==
               1U);
}

BOOST_AUTO_TEST_CASE(same_tokens_at_another_place_are_the_same)
{
    const auto run = [](const char* path, const char* checksum) {
        return small({std::string("data.train=") + path,
                      std::string("data.train_checksum=\"") + checksum + "\""});
    };
    BOOST_TEST(differences_in_result(run("/a.h5", "1f"), run("/b.h5", "1f")).empty());
    const auto changed = differences_in_result(run("/a.h5", "1f"), run("/a.h5", "2e"));
    BOOST_REQUIRE(changed.size() == 1U);
    BOOST_TEST(changed[0] == "data.train_checksum: saved \"1f\", now \"2e\"");
    // Only one of them knows its tokens: the place is what there is to compare.
    BOOST_TEST(differences_in_result(run("/a.h5", "1f"), run("/a.h5", "")).empty());
    BOOST_TEST(differences_in_result(run("/a.h5", "1f"), run("/b.h5", "")).size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
