// Defaults, files as a whole, and the recipes.
#include "src/config/layout.hpp"
#include "src/config/presets.hpp"
#include "src/config/run_config.hpp"
#include "tests/source_folder.hpp"
#include "tests/src/config/run_text_fixture.hpp"

using namespace sluice;

BOOST_AUTO_TEST_SUITE(run_config)

const std::filesystem::path recipes = sluice::source_path("recipes");

BOOST_AUTO_TEST_CASE(defaults_are_the_papers)
{
    const RunConfig config = small();
    BOOST_TEST((config.model.arrangement == Arrangement::pre));
    BOOST_TEST((config.model.init == Init::standard));
    BOOST_TEST((config.model.init_distribution == InitDistribution::truncated_normal));
    BOOST_TEST((config.prores.schedule == WarmupSchedule::linear));
    BOOST_TEST(config.prores.warmup_steps == 1000);
    BOOST_TEST(config.optimizer.beta1 == 0.9);
    BOOST_TEST(config.optimizer.beta2 == 0.95);
    BOOST_TEST(config.optimizer.eps == 1e-8);
    BOOST_TEST(config.optimizer.weight_decay == 0.1);
    BOOST_TEST(config.optimizer.grad_clip == 1.0);
    BOOST_TEST((config.lr_schedule.kind == LearningRateKind::wsd));
    BOOST_TEST(config.lr_schedule.decay_fraction == 0.1);
    BOOST_TEST(config.batch.global_batch_size == 512);
    BOOST_TEST((config.pipeline.schedule == PipelineScheduleKind::one_f_one_b));
    BOOST_TEST((config.precision == ComputePrecision::automatic));
    BOOST_TEST(config.eval.tokens == 10'000'000);
}

BOOST_AUTO_TEST_CASE(every_name_means_its_choice)
{
    const auto chosen = [](const std::string& override_text) { return small({override_text}); };
    using enum Arrangement;
    BOOST_TEST((chosen("model.arrangement=pre").model.arrangement == pre));
    BOOST_TEST((chosen("model.arrangement=post").model.arrangement == post));
    BOOST_TEST((chosen("model.arrangement=sandwich").model.arrangement == sandwich));
    BOOST_TEST((chosen("model.arrangement=deepnorm").model.arrangement == deepnorm));
    BOOST_TEST((chosen("model.arrangement=lns").model.arrangement == lns));
    BOOST_TEST((chosen("model.lns=fixed").model.lns == LnsVariant::fixed));
    BOOST_TEST((chosen("model.lns=init").model.lns == LnsVariant::init));
    BOOST_TEST((chosen("model.init=default").model.init == Init::standard));
    BOOST_TEST((chosen("model.init=ds").model.init == Init::ds));
    BOOST_TEST((chosen("model.init=scaled").model.init == Init::scaled));
    BOOST_TEST((chosen("model.init=xavier").model.init == Init::xavier));
    using enum InitDistribution;
    BOOST_TEST((chosen("model.init_distribution=normal").model.init_distribution == normal));
    BOOST_TEST((chosen("model.init_distribution=truncated_normal").model.init_distribution ==
                truncated_normal));
    using enum EmbeddingScale;
    BOOST_TEST((chosen("model.init_embedding_scale=one").model.init_embedding_scale == one));
    BOOST_TEST((chosen("model.init_embedding_scale=sqrt_d").model.init_embedding_scale == sqrt_d));
    using enum LearningRateKind;
    BOOST_TEST((chosen("lr_schedule.kind=wsd").lr_schedule.kind == wsd));
    BOOST_TEST((chosen("lr_schedule.kind=cosine").lr_schedule.kind == cosine));
    BOOST_TEST((chosen("lr_schedule.kind=linear").lr_schedule.kind == LearningRateKind::linear));
    BOOST_TEST((chosen("lr_schedule.kind=constant").lr_schedule.kind == constant));
    using enum PipelineScheduleKind;
    BOOST_TEST((chosen("pipeline.schedule=gpipe").pipeline.schedule == gpipe));
    BOOST_TEST((chosen("pipeline.schedule=1f1b").pipeline.schedule == one_f_one_b));
    BOOST_TEST((chosen("precision.compute=fp32").precision == ComputePrecision::fp32));
    BOOST_TEST((chosen("precision.compute=fp64").precision == ComputePrecision::fp64));
    BOOST_TEST((chosen("precision.compute=bf16").precision == ComputePrecision::bf16));
    BOOST_TEST((chosen("precision.compute=pure-bf16").precision == ComputePrecision::pure_bf16));
    BOOST_TEST((chosen("precision.compute=auto").precision == ComputePrecision::automatic));
    const std::pair<const char*, WarmupSchedule> schedules[] = {
        {"off", WarmupSchedule::off},
        {"linear", WarmupSchedule::linear},
        {"linear-sqrt", WarmupSchedule::linear_sqrt},
        {"linear-square", WarmupSchedule::linear_square},
        {"equal", WarmupSchedule::equal},
        {"reverse", WarmupSchedule::reverse},
        {"stagewise-0", WarmupSchedule::stagewise_0},
        {"stagewise-L", WarmupSchedule::stagewise_L},
        {"stagewise-sqrt-L", WarmupSchedule::stagewise_sqrt_L},
        {"stagewise-sqrt-l", WarmupSchedule::stagewise_sqrt_l},
        {"fix-L", WarmupSchedule::fix_L},
        {"fix-sqrt-L", WarmupSchedule::fix_sqrt_L},
        {"fix-sqrt-l", WarmupSchedule::fix_sqrt_l}};
    for (const auto& [name, schedule] : schedules)
        BOOST_TEST((chosen(std::string("prores.schedule=") + name).prores.schedule == schedule),
                   name);
}

BOOST_AUTO_TEST_CASE(every_recipe_loads_and_runs_in_some_layout)
{
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(recipes)) {
        if (entry.path().extension() != ".toml")
            continue;
        ++count;
        BOOST_TEST_CONTEXT(entry.path().filename().string())
        {
            RunConfig config;
            BOOST_REQUIRE_NO_THROW(config = load_run_config(entry.path(), {}));
            BOOST_CHECK_NO_THROW(check_layout(config, 4));
            BOOST_TEST(config.data.train.is_absolute());
        }
    }
    BOOST_TEST(count >= 7);
}

BOOST_AUTO_TEST_CASE(recipes_take_the_overrides_their_comments_name)
{
    const auto load = [](const char* name, const std::vector<std::string>& overrides) {
        return load_run_config(recipes / name, overrides);
    };
    const RunConfig deep = load("llama-71m-c4.toml", {"model.preset=llama-71m-120"});
    BOOST_TEST(deep.model.num_layers == 120);
    BOOST_TEST(deep.prores.warmup_steps == 500);
    BOOST_CHECK_NO_THROW(load("llama-71m-c4.toml", {"run.updates=100", "batch.global_batch_size=8",
                                                    "model.vocab_size=257"}));
    const RunConfig post = load("llama-350m-c4.toml", {"model.arrangement=post"});
    BOOST_TEST(post.optimizer.lr == 5e-4);
    BOOST_TEST(post.lr_schedule.warmup_steps == 10000);
    const RunConfig ablation = load("ablation-350m-6b.toml", {});
    BOOST_TEST(ablation.prores.warmup_steps == 1000);
    BOOST_CHECK_NO_THROW(load("ablation-350m-6b.toml", {"prores.total_warmup_steps=1008",
                                                        "prores.schedule=stagewise-sqrt-l"}));
}

BOOST_AUTO_TEST_CASE(the_demo_is_deep_and_small)
{
    const RunConfig demo = load_run_config(recipes / "demo.toml", {});
    BOOST_TEST(demo.model.num_layers >= 16);
    BOOST_TEST(demo.model.vocab_size == 257);
    // All gates open well before the end.
    BOOST_TEST(demo.prores.warmup_steps * demo.model.num_layers < demo.run.updates);
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_read_is_one_message)
{
    const auto message = [](const std::filesystem::path& path) -> std::string {
        try {
            load_run_config(path, {});
        } catch (const UserError& error) {
            BOOST_TEST((error.code() == ExitCode::usage));
            return error.what();
        }
        return {};
    };
    check_mentions(message("/no/such/run.toml"), {"/no/such/run.toml", "cannot read"});
    check_mentions(message(recipes), {"recipes", "a folder"});
}

BOOST_AUTO_TEST_CASE(windows_line_ends_and_a_byte_order_mark_are_fine)
{
    std::string text = "\xEF\xBB\xBF";
    for (const char c : small_run)
        text += c == '\n' ? "\r\n" : std::string(1, c);
    BOOST_TEST(message_of(text) == "");
    check_mentions(message_of(std::string("\x7f"
                                          "ELF\x02\x01\0\0",
                                          8)),
                   {"run.toml:1", "not valid TOML"});
}

BOOST_AUTO_TEST_CASE(transfers_are_checked_unless_the_run_says_otherwise)
{
    const auto checked = [](const std::string& value) {
        return small({"pipeline.verify_transfers=" + value}).pipeline.verify_transfers;
    };
    BOOST_TEST(checked("true"));
    BOOST_TEST(checked("auto")); // in run files from when it meant something
    BOOST_TEST(!checked("false"));
    BOOST_CHECK_THROW(checked("maybe"), UserError);
}

BOOST_AUTO_TEST_CASE(passes_are_graphs_on_gpus_where_layers_are_small_unless_the_run_says_otherwise)
{
    const auto captured = [](const char* device, const char* value, const char* preset = "",
                             std::int64_t micro_batch_size = 1) {
        RunConfig config =
            small({std::string("run.device=") + device, std::string("pipeline.graphs=") + value});
        if (*preset != 0) {
            apply_preset(config, *find_preset(preset));
            config.batch.seq_len = 1024;
            config.batch.micro_batch_size = micro_batch_size;
        }
        return captures_graphs(config);
    };
    BOOST_TEST(captured("cuda", "auto"));
    BOOST_TEST(!captured("cuda", "false"));
    BOOST_TEST(!captured("cpu", "true"));
    BOOST_TEST(!captured("cpu", "auto"));
    BOOST_TEST(captured("cuda", "auto", "llama-71m-120", 8));
    BOOST_TEST(!captured("cuda", "auto", "llama-71m-120", 64));
    BOOST_TEST(captured("cuda", "auto", "llama-350m", 2));
    BOOST_TEST(!captured("cuda", "auto", "llama-350m", 4));
    BOOST_TEST(captured("cuda", "true", "llama-7b", 8));
}

BOOST_AUTO_TEST_CASE(asynchronous_is_true_false_or_auto)
{
    using enum Switch;
    const auto choice = [](const char* value) {
        return small({std::string("checkpoint.asynchronous=") + value}).checkpoint.asynchronous;
    };
    BOOST_TEST((small().checkpoint.asynchronous == automatic));
    BOOST_TEST((choice("true") == on));
    BOOST_TEST((choice("false") == off));
    BOOST_TEST((choice("auto") == automatic));
    for (const char* wrong : {"yes", "1"})
        BOOST_CHECK_EXCEPTION(choice(wrong), UserError, [](const UserError& error) {
            return error.where().find("checkpoint.asynchronous") != std::string::npos &&
                   error.remedy().find("auto") != std::string::npos;
        });
}

BOOST_AUTO_TEST_SUITE_END()
