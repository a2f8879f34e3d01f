#include "src/config/presets.hpp"
#include "tests/src/config/run_text_fixture.hpp"

using namespace sluice;

BOOST_AUTO_TEST_SUITE(presets)

RunConfig with_preset(const std::string& name, std::vector<std::string> overrides = {})
{
    return parsed("[model]\npreset = \"" + name +
                      "\"\n[data]\ntrain = \"t.h5\"\n[run]\nupdates = 100000\n",
                  overrides);
}

BOOST_AUTO_TEST_CASE(sizes_are_the_papers)
{
    struct Row {
        const char* name;
        std::int64_t layers, hidden, mlp, heads;
        double lr, post, deepnorm;
        std::int64_t T;
    };
    const Row rows[] = {
        {"llama-71m", 12, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 1000},
        {"llama-71m-24", 24, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 1000},
        {"llama-71m-48", 48, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 1000},
        {"llama-71m-72", 72, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 1000},
        {"llama-71m-96", 96, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 500},
        {"llama-71m-120", 120, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 500},
        {"llama-130m", 12, 768, 2048, 12, 2e-3, 1e-3, 1.5e-3, 1000},
        {"llama-350m", 24, 1024, 2736, 16, 1e-3, 5e-4, 1e-3, 1000},
        {"llama-1.3b", 24, 2048, 5632, 32, 6e-4, 3e-4, 3e-4, 1000},
        {"llama-7b", 32, 4096, 11008, 32, 3e-4, 3e-4, 3e-4, 1000},
    };
    for (const Row& row : rows) {
        const RunConfig config = with_preset(row.name);
        BOOST_TEST_CONTEXT(row.name)
        {
            BOOST_TEST(config.preset == row.name);
            BOOST_TEST(config.model.vocab_size == 32000);
            BOOST_TEST(config.model.max_seq_len == 1024);
            BOOST_TEST(config.model.num_layers == row.layers);
            BOOST_TEST(config.model.hidden_size == row.hidden);
            BOOST_TEST(config.model.intermediate_size == row.mlp);
            BOOST_TEST(config.model.num_heads == row.heads);
            BOOST_TEST(config.prores.warmup_steps == row.T);
            BOOST_TEST(config.optimizer.lr == row.lr);
            for (const char* like_pre : {"sandwich", "lns"})
                BOOST_TEST(with_preset(row.name, {std::string("model.arrangement=") + like_pre})
                               .optimizer.lr == row.lr);
            BOOST_TEST(with_preset(row.name, {"model.arrangement=post"}).optimizer.lr == row.post);
            BOOST_TEST(with_preset(row.name, {"model.arrangement=deepnorm"}).optimizer.lr ==
                       row.deepnorm);
        }
    }
    BOOST_TEST(sluice::presets().size() == std::size(rows) + 1);
}

BOOST_AUTO_TEST_CASE(the_3b_model_needs_a_learning_rate)
{
    check_mentions(
        message_of("[model]\npreset = \"llama-3b\"\n[data]\ntrain = \"t\"\n[run]\nupdates = 10\n"),
        {"optimizer.lr is missing", "llama-3b"});
    const RunConfig config = with_preset("llama-3b", {"optimizer.lr=3e-4"});
    BOOST_TEST(config.model.hidden_size == 2560);
    BOOST_TEST(config.model.intermediate_size == 6848);
    BOOST_TEST(config.model.num_layers == 32);
    BOOST_TEST(config.model.num_heads == 32);
}

BOOST_AUTO_TEST_CASE(single_keys_override_a_preset_in_any_order)
{
    const RunConfig config = parsed(R"([run]
updates = 100000
[prores]
warmup_steps = 7
[model]
vocab_size = 257
num_layers = 48
preset = "llama-71m"
[data]
train = "t.h5"
)");
    BOOST_TEST(config.model.num_layers == 48);
    BOOST_TEST(config.model.vocab_size == 257);
    BOOST_TEST(config.model.hidden_size == 512);
    BOOST_TEST(config.prores.warmup_steps == 7);
    BOOST_TEST(with_preset("llama-71m", {"optimizer.lr=1"}).optimizer.lr == 1.0);
}

BOOST_AUTO_TEST_CASE(learning_rate_warmup_follows_arrangement_and_length)
{
    BOOST_TEST(with_preset("llama-71m").lr_schedule.warmup_steps == 2000);
    for (const char* arrangement : {"sandwich", "lns"})
        BOOST_TEST(with_preset("llama-71m", {std::string("model.arrangement=") + arrangement})
                       .lr_schedule.warmup_steps == 2000);
    for (const char* arrangement : {"post", "deepnorm"})
        BOOST_TEST(with_preset("llama-71m", {std::string("model.arrangement=") + arrangement})
                       .lr_schedule.warmup_steps == 10000);
    BOOST_TEST(with_preset("llama-71m", {"run.updates=500"}).lr_schedule.warmup_steps == 50);
    BOOST_TEST(with_preset("llama-71m", {"lr_schedule.warmup_steps=3"}).lr_schedule.warmup_steps ==
               3);
}

BOOST_AUTO_TEST_SUITE_END()
