#include "src/config/run_key.hpp"
#include "tests/src/config/run_text_fixture.hpp"

using namespace sluice;

BOOST_AUTO_TEST_SUITE(resolved_toml)

/// One line per field, by hand: does not rest on the table of keys that the writer uses.
std::string fields(const RunConfig& c)
{
    std::ostringstream out;
    out << std::hexfloat << c.preset << '|' << c.prores.warmup_steps << '|'
        << name_of(c.prores.schedule) << '|' << c.optimizer.lr << '|' << c.optimizer.beta1 << '|'
        << c.optimizer.beta2 << '|' << c.optimizer.eps << '|' << c.optimizer.weight_decay << '|'
        << c.optimizer.grad_clip << '|' << name_of(c.lr_schedule.kind) << '|'
        << c.lr_schedule.warmup_steps << '|' << c.lr_schedule.decay_fraction << '|'
        << c.lr_schedule.min_lr_ratio << '|' << c.batch.global_batch_size << '|'
        << c.batch.micro_batch_size << '|' << c.batch.seq_len << '|' << name_of(c.pipeline.schedule)
        << '|' << c.pipeline.chunks_per_rank << '|' << c.pipeline.replicas << '|'
        << c.pipeline.extra_warmup << '|' << c.pipeline.partition << '|' << c.pipeline.schedule_file
        << '|' << name_of(c.pipeline.recompute) << '|'
        << static_cast<int>(c.pipeline.verify_transfers) << '|'
        << static_cast<int>(c.pipeline.graphs) << '|' << static_cast<int>(c.pipeline.transport)
        << '|' << c.data.train << '|' << c.data.train_checksum << '|' << c.data.validation << '|'
        << name_of(c.precision) << '|' << c.tf32 << '|' << static_cast<int>(c.attention) << '|'
        << c.checkpoint.every_updates << '|' << c.checkpoint.keep_last << '|'
        << c.checkpoint.keep_every << '|' << static_cast<int>(c.checkpoint.asynchronous) << '|'
        << static_cast<int>(c.checkpoint.on_failure) << '|' << c.eval.every_updates << '|'
        << c.eval.tokens << '|' << c.metrics.activation_norm_every << '|'
        << c.metrics.digest_every_update << '|' << c.trace.updates << '|' << c.run.updates << '|'
        << c.run.seed << '|' << c.run.device << '|' << c.run.threads_per_rank << '|'
        << c.run.hang_seconds << '|' << c.run.start_seconds;
    out << '|' << c.run.time_limit_seconds << '|' << name_of(c.anomaly.on_nonfinite) << '|'
        << c.anomaly.loss_spike_sigma << '|' << c.anomaly.spike_window << '|'
        << name_of(c.anomaly.on_spike) << '|' << c.anomaly.rewind_updates << '|'
        << c.anomaly.max_rewinds << '|' << c.anomaly.repeat_every;
    return out.str();
}

/// Every key away from its default.
const std::vector<std::string> unusual{"model.num_heads=1", // 64 wide, as cuDNN takes them
                                       "model.arrangement=lns",
                                       "model.lns=init",
                                       "model.init=scaled",
                                       "model.init_distribution=normal",
                                       "model.init_embedding_scale=sqrt_d",
                                       "model.init_std=0.03",
                                       "model.norm_eps=1.1e-6",
                                       "model.rope_base=500000",
                                       "model.max_seq_len=512",
                                       "pipeline.recompute=lean",
                                       "prores.schedule=stagewise-sqrt-l",
                                       "prores.warmup_steps=17",
                                       "optimizer.lr=0.00123456789",
                                       "optimizer.betas=[0.1, 0.3]",
                                       "optimizer.eps=3e-9",
                                       "optimizer.weight_decay=0.7",
                                       "optimizer.grad_clip=0.1",
                                       "lr_schedule.kind=cosine",
                                       "lr_schedule.warmup_steps=11",
                                       "lr_schedule.decay_fraction=0.3",
                                       "lr_schedule.min_lr_ratio=0.2",
                                       "batch.global_batch_size=24",
                                       "batch.micro_batch_size=3",
                                       "batch.seq_len=128",
                                       "pipeline.schedule=custom",
                                       "pipeline.chunks_per_rank=3",
                                       "pipeline.replicas=2",
                                       "pipeline.partition=4,2",
                                       "pipeline.schedule_file=/s.txt",
                                       "pipeline.transport=mpi",
                                       "pipeline.verify_transfers=false",
                                       "pipeline.graphs=true",
                                       "data.train=/a \"b\"/c\\d.h5",
                                       "data.train_checksum=ab12",
                                       "data.validation=/v.h5",
                                       "precision.compute=pure-bf16",
                                       "precision.attention=cudnn",
                                       "checkpoint.every_updates=7",
                                       "checkpoint.keep_last=5",
                                       "checkpoint.keep_every=14",
                                       "checkpoint.asynchronous=false",
                                       "checkpoint.on_failure=continue",
                                       "anomaly.on_nonfinite=skip",
                                       "anomaly.loss_spike_sigma=6.5",
                                       "anomaly.spike_window=50",
                                       "anomaly.on_spike=rewind",
                                       "anomaly.rewind_updates=20",
                                       "anomaly.max_rewinds=3",
                                       "anomaly.repeat_every=50",
                                       "eval.every_updates=9",
                                       "eval.tokens=1234",
                                       "metrics.activation_norm_every=6",
                                       "metrics.digest_every_update=true",
                                       "trace.updates=3-5",
                                       "run.updates=333",
                                       "run.seed=9223372036854775807",
                                       "run.device=cpu",
                                       "run.threads_per_rank=3",
                                       "run.hang_seconds=7",
                                       "run.start_seconds=1200",
                                       "run.time_limit_seconds=3600"};

BOOST_AUTO_TEST_CASE(parsing_it_gives_the_same_run)
{
    const RunConfig preset = parsed("[model]\npreset = \"llama-350m\"\n[data]\ntrain = "
                                    "\"t.h5\"\n[run]\nupdates = 60000\n");
    for (const RunConfig& config :
         {small(), small(unusual), preset, small({"pipeline.schedule=gpipe"}),
          small({"precision.compute=fp32", "precision.tf32=true"})}) {
        const std::string text = sluice::resolved_toml(config);
        const RunConfig again = parse_run_config(text, "config.toml", "/elsewhere", {});
        BOOST_TEST(fields(again) == fields(config));
        BOOST_TEST((again.model == config.model));
        BOOST_TEST(sluice::resolved_toml(again) == text);
    }
}

BOOST_AUTO_TEST_CASE(the_unusual_run_leaves_no_key_at_its_default)
{
    const RunConfig usual = small(), other = small(unusual);
    for (const RunKey& key : run_keys()) {
        const std::string name = key.full_name();
        const bool fixed = name == "model.preset" ||
                           name == "pipeline.extra_warmup" || // not beside a custom schedule
                           name == "precision.tf32" ||        // not beside bf16
                           (name.starts_with("model.") && name.find("size") != name.npos) ||
                           name == "model.num_layers" || name == "model.num_heads";
        if (key.get && !fixed)
            BOOST_TEST(toml_text(key.get(usual)) != toml_text(key.get(other)), name);
    }
}

BOOST_AUTO_TEST_CASE(every_key_is_written_once_under_its_section)
{
    const std::string text = sluice::resolved_toml(small());
    std::size_t at = 0;
    for (const std::string& section : section_names()) {
        const auto heading = text.find("\n[" + section + "]\n", at);
        BOOST_REQUIRE(heading != std::string::npos);
        for (const std::string& name : key_names(section))
            if (section + "." + name != "prores.total_warmup_steps")
                BOOST_TEST(text.find("\n" + name + " = ", heading) != std::string::npos, name);
        at = heading;
    }
    BOOST_TEST(text.find("total_warmup_steps") == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
