#include "src/config/run_file.hpp"
#include "tests/src/config/run_text_fixture.hpp"

using namespace sluice;

BOOST_AUTO_TEST_SUITE(run_file)

struct Mistake {
    std::string line; ///< after small_run, so line 15 or 16
    std::vector<std::string> fragments;
};

BOOST_AUTO_TEST_CASE(every_mistake_names_file_line_key_and_choice)
{
    const std::vector<Mistake> mistakes{
        {"micro_batch = 2",
         {"run.toml:15: batch.micro_batch", "unknown key",
          "did you mean "
          "'micro_batch_size'",
          "global_batch_size"}},
        {"lr = 2.0", {"run.toml:15: batch.lr", "did you mean 'optimizer.lr'?"}},
        {"[optimzer]", {"run.toml:15", "unknown section [optimzer]", "did you mean [optimizer]?"}},
        {"[wandb]", {"run.toml:15", "unknown section [wandb]", "sections: model, prores"}},
        {"micro_batch_size = \"2\"",
         {"run.toml:15: batch.micro_batch_size", "expected an integer", "\"2\"", "write 2"}},
        {"micro_batch_size = 2.0", {"run.toml:15", "expected an integer", "2.0", "write 2"}},
        {"micro_batch_size = 2.5", {"run.toml:15", "expected an integer", "a whole number"}},
        {"micro_batch_size = 1979-05-27", {"run.toml:15", "expected an integer", "a date"}},
        {"micro_batch_size = 0", {"run.toml:15", "0 is too small", "smallest possible value is 1"}},
        {"[batch.micro_batch_size]", {"run.toml:15", "expected an integer", "a section"}},
        {"[[prores]]", {"run.toml:15", "'prores' stands outside", "write [prores]"}},
        {"[prores]\nschedule = \"linear_square\"",
         {"run.toml:16: prores.schedule", "did you mean \"linear-square\"?",
          "off, linear, "
          "linear-sqrt, linear-square, equal, reverse, stagewise-0, stagewise-L, "
          "stagewise-sqrt-L, stagewise-sqrt-l, fix-L, fix-sqrt-L, fix-sqrt-l"}},
        {"[prores]\nschedule = 3", {"run.toml:16", "expected a string", "stagewise-0"}},
        {"[eval]\ntokens = -1", {"run.toml:16: eval.tokens", "-1 is too small"}},
        {"[lr_schedule]\ndecay_fraction = 1.5",
         {"run.toml:16: lr_schedule.decay_fraction", "1.5 is impossible", "at most 1.0"}},
        {"[lr_schedule]\nmin_lr_ratio = nan", {"run.toml:16", "nan is impossible"}},
        {"[metrics]\ndigest_every_update = 1",
         {"run.toml:16", "expected a boolean", "true or false"}},
        {"[pipeline]\nschedule = \"zb-h2\"",
         {"run.toml:16: pipeline.schedule", "write zb-h1", "gpipe, 1f1b"}},
        {"[pipeline]\nschedule = \"interleaved\"",
         {"run.toml:16", "interleaved-1f1b or interleaved-zb"}},
        {"[pipeline]\nschedule = \"1f1bb\"", {"run.toml:16", "did you mean \"1f1b\"?"}},
        {"[pipeline]\nchunks_per_rank = 0", {"run.toml:16: pipeline.chunks_per_rank"}},
        {"[pipeline]\nreplicas = 0",
         {"run.toml:16: pipeline.replicas", "smallest possible value is 1"}},
        {"[precision]\ncompute = \"fp16\"",
         {"run.toml:16: precision.compute", "write bf16",
          "valid choices: fp32, fp64, bf16, pure-bf16, auto"}},
        {"[precision]\ncompute = \"bf-16\"", {"run.toml:16", "did you mean \"bf16\"?"}},
        {"seq_len = 128", {"run.toml:15", "not valid TOML", "seq_len"}},
        {"micro_batch_size = ", {"run.toml:15", "not valid TOML"}},
    };
    for (const Mistake& mistake : mistakes) {
        const std::string message = message_of(small_run + mistake.line + "\n");
        BOOST_TEST(!message.empty(), "accepted: " << mistake.line);
        check_mentions(message, mistake.fragments);
    }
}

// What the parser takes for granted, and what would take all its stack.
BOOST_AUTO_TEST_CASE(files_made_to_harm_are_one_message)
{
    std::string deep = "a";
    for (int i = 0; i < 200'000; ++i)
        deep += ".a";
    const std::vector<Mistake> mistakes{
        {"[[[batch]]]", {"run.toml", "not valid TOML"}},
        {"micro_batch_size = 2\u03823", {"run.toml:15", "not valid TOML"}},
        {deep + " = 1", {"run.toml:15", "more than 100 dots"}},
        {"[" + deep + "]", {"run.toml:15", "more than 100 dots"}},
        {"micro_batch_size = " + std::string(100'000, '['), {"run.toml:15", "not valid TOML"}},
        {std::string(100'000, 'b') + " = 1", {"run.toml:15", "unknown key"}},
        {std::string(2'000'000, '#'), {"run.toml", "more than 1048576 bytes"}},
    };
    for (const Mistake& mistake : mistakes) {
        const std::string message = message_of(small_run + mistake.line + "\n");
        BOOST_TEST(!message.empty(), "accepted: " << mistake.line.substr(0, 20));
        check_mentions(message, mistake.fragments);
    }
    BOOST_TEST(message_of(small_run, {"batch." + deep + "=1"}).find("unknown key") !=
               std::string::npos);
    BOOST_TEST(message_of(small_run + "# " + std::string(300, '.') + "\n").empty());
}

BOOST_AUTO_TEST_CASE(mistakes_inside_the_first_sections)
{
    check_mentions(message_of("num_layers = 3\n" + small_run),
                   {"run.toml:1", "outside of any section", "model.num_layers"});
    check_mentions(message_of("model = 3\n"), {"run.toml:1", "write [model]"});
    check_mentions(message_of("[optimizer]\nbetas = [0.9]\n"),
                   {"run.toml:2: optimizer.betas", "two numbers, found 1", "[0.9, 0.95]"});
    check_mentions(message_of("[optimizer]\nbetas = [0.9, 1.0]\n"),
                   {"run.toml:2: optimizer.betas", "1.0 is impossible", "less than 1.0"});
    check_mentions(message_of("[optimizer]\nbetas = [0.9, \"x\"]\n"),
                   {"run.toml:2", "array of numbers"});
    check_mentions(message_of("[optimizer]\nlr = 0\n"),
                   {"run.toml:2: optimizer.lr", "greater than 0"});
    check_mentions(message_of("[optimizer]\nlr = inf\n"), {"run.toml:2", "inf is impossible"});
    check_mentions(message_of("[run]\ndevice = \"gpu\"\n"),
                   {"run.toml:2: run.device", "is called \"cuda\" here", "auto, cpu, cuda"});
    check_mentions(message_of("[model]\npreset = \"llama-70m\"\n"),
                   {"run.toml:2: model.preset", "did you mean \"llama-71m\"?", "llama-7b"});
    check_mentions(message_of("[data]\ntrain = [\"a\"]\n"),
                   {"run.toml:2: data.train", "expected a string"});
}

BOOST_AUTO_TEST_CASE(overrides_win_and_are_named)
{
    BOOST_TEST(small({"model.num_layers=8"}).model.num_layers == 8);
    BOOST_TEST(small({"run.seed=1", " run.seed = 2 "}).run.seed == 2U);
    BOOST_TEST(
        (small({"pipeline.schedule=gpipe"}).pipeline.schedule == PipelineScheduleKind::gpipe));
    BOOST_TEST(
        (small({"pipeline.schedule=1f1b"}).pipeline.schedule == PipelineScheduleKind::one_f_one_b));
    BOOST_TEST(small({"pipeline.partition=4,2"}).pipeline.partition == "4,2");
    BOOST_TEST(small({"optimizer.betas=[0.8, 0.9]"}).optimizer.beta1 == 0.8);
    BOOST_TEST(small({"metrics.digest_every_update=true"}).metrics.digest_every_update);
    check_mentions(message_of(small_run, {"model.num_heads=5"}),
                   {"--set model.num_heads=5: ", "num_heads = 4"});
    check_mentions(message_of(small_run, {"model.num_head=4"}),
                   {"--set model.num_head=4: unknown key", "did you mean 'num_heads'?"});
    check_mentions(message_of(small_run, {"modl.num_heads=4"}), {"did you mean [model]?"});
    check_mentions(message_of(small_run, {"lr=4"}), {"--set lr=4", "did you mean 'optimizer.lr'?"});
    check_mentions(message_of(small_run, {"optimizer.lr"}),
                   {"--set optimizer.lr", "needs a value"});
    for (const char* number : {".003", "-.5", "3.", "3.e-3"}) // as `bc` prints it
        check_mentions(message_of(small_run, {"optimizer.lr=" + std::string(number)}),
                       {"expected a number", "digits on both sides of its point"});
    BOOST_TEST(message_of(small_run, {"optimizer.lr=\"0.003\""}).find("digits") ==
               std::string::npos);
    BOOST_TEST(small({"pipeline.partition=6"}).pipeline.partition == "6");
    check_mentions(message_of(small_run, {"run.seed="}), {"expected an integer"});
    check_mentions(message_of(small_run, {"run.seed=1\nupdates = 3"}), {"expected an integer"});
}

BOOST_AUTO_TEST_CASE(paths_are_relative_to_the_file_or_the_current_folder)
{
    BOOST_TEST(small().data.train == "/data/runs/tokens.h5");
    BOOST_TEST(small({"data.train=../t.h5"}).data.train ==
               (std::filesystem::current_path() / "../t.h5").lexically_normal());
    BOOST_TEST(small({"data.train=/x/2024-01-02"}).data.train == "/x/2024-01-02");
    BOOST_TEST(small().data.validation.empty());
}

// TOML holds UTF-8 alone: config.toml would name another file.
BOOST_AUTO_TEST_CASE(a_path_that_is_not_utf8_is_refused)
{
    std::string message;
    try {
        parse_run_config(small_run, "run.toml", "/data/caf\xe9", {});
    } catch (const UserError& error) {
        message = error.what();
    }
    check_mentions(message, {"run.toml:12: data.train", "is not UTF-8", "symbolic link"});
}

BOOST_AUTO_TEST_SUITE_END()
