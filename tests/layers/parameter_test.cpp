#include "layers/parameter.hpp"

#include "tests/layers/layer_fixture.hpp"

#include <algorithm>

namespace sluice {
namespace {

using testing::Variant;

const ParameterSpec& find(const std::vector<ParameterSpec>& parameters, const std::string& name)
{
    const auto found = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const ParameterSpec& p) { return p.name == name; });
    BOOST_REQUIRE_MESSAGE(found != parameters.end(), "no " << name);
    return *found;
}

std::vector<std::string> norm_names(Arrangement arrangement)
{
    std::vector<std::string> names;
    const std::string prefix = "model.layers.2.";
    for (const ParameterSpec& parameter : parameters_of(testing::small_model({arrangement})))
        if (parameter.layer == 2 && parameter.shape.rank() == 1)
            names.push_back(parameter.name.substr(prefix.size()));
    return names;
}

BOOST_AUTO_TEST_SUITE(parameter)

BOOST_AUTO_TEST_CASE(matrices_have_the_names_and_shapes_of_hugging_face_llama)
{
    const ModelSpec spec = testing::small_model({Arrangement::pre});
    const auto all = parameters_of(spec);
    const std::string layer = "model.layers.3.";
    BOOST_CHECK(find(all, "model.embed_tokens.weight").shape == Shape({13, 8}));
    BOOST_CHECK(find(all, layer + "self_attn.q_proj.weight").shape == Shape({8, 8}));
    BOOST_CHECK(find(all, layer + "self_attn.k_proj.weight").shape == Shape({8, 8}));
    BOOST_CHECK(find(all, layer + "self_attn.v_proj.weight").shape == Shape({8, 8}));
    BOOST_CHECK(find(all, layer + "self_attn.o_proj.weight").shape == Shape({8, 8}));
    BOOST_CHECK(find(all, layer + "mlp.gate_proj.weight").shape == Shape({12, 8}));
    BOOST_CHECK(find(all, layer + "mlp.up_proj.weight").shape == Shape({12, 8}));
    BOOST_CHECK(find(all, layer + "mlp.down_proj.weight").shape == Shape({8, 12}));
    BOOST_CHECK(find(all, "model.norm.weight").shape == Shape({8}));
    BOOST_CHECK(find(all, "lm_head.weight").shape == Shape({13, 8}));
    BOOST_CHECK_EQUAL(all.size(), 1 + 4 * 9 + 2);
}

BOOST_AUTO_TEST_CASE(norms_are_named_per_arrangement)
{
    using Names = std::vector<std::string>;
    const Names before = {"input_layernorm.weight", "post_attention_layernorm.weight"};
    const Names after = {"post_attention_layernorm.weight", "post_feedforward_layernorm.weight"};
    const Names four = {"input_layernorm.weight", "post_attention_layernorm.weight",
                        "pre_feedforward_layernorm.weight", "post_feedforward_layernorm.weight"};
    BOOST_TEST(norm_names(Arrangement::pre) == before, boost::test_tools::per_element());
    BOOST_TEST(norm_names(Arrangement::lns) == before, boost::test_tools::per_element());
    BOOST_TEST(norm_names(Arrangement::post) == after, boost::test_tools::per_element());
    BOOST_TEST(norm_names(Arrangement::deepnorm) == after, boost::test_tools::per_element());
    BOOST_TEST(norm_names(Arrangement::sandwich) == four, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(index_is_the_place_in_the_whole_model_whatever_the_range)
{
    for (const Variant& variant : testing::all_variants) {
        const ModelSpec spec = testing::small_model(variant);
        const auto all = parameters_of(spec);
        for (std::size_t i = 0; i < all.size(); ++i)
            BOOST_CHECK_EQUAL(all[i].index, static_cast<std::int64_t>(i));
        std::vector<ParameterSpec> pieces;
        for (const LayerRange& range :
             {LayerRange{0, 1, true, false}, LayerRange{1, 3}, LayerRange{3, 4, false, true}})
            for (const ParameterSpec& parameter : parameters_of(spec, range))
                pieces.push_back(parameter);
        BOOST_REQUIRE_EQUAL(pieces.size(), all.size());
        for (std::size_t i = 0; i < all.size(); ++i) {
            BOOST_CHECK_EQUAL(pieces[i].name, all[i].name);
            BOOST_CHECK_EQUAL(pieces[i].index, all[i].index);
            BOOST_CHECK_EQUAL(pieces[i].layer, all[i].layer);
        }
    }
}

BOOST_AUTO_TEST_CASE(norms_and_embedding_are_never_decayed)
{
    for (const ParameterSpec& parameter :
         parameters_of(testing::small_model({Arrangement::sandwich})))
        BOOST_CHECK_EQUAL(parameter.decayed, parameter.shape.rank() == 2 &&
                                                 parameter.name != "model.embed_tokens.weight");
}

BOOST_AUTO_TEST_CASE(initial_deviations_follow_initialisation_and_arrangement)
{
    ModelSpec spec = testing::small_model({Arrangement::pre});
    spec.init_std = 0.02;
    const auto std_of = [&](const std::string& name) {
        return find(parameters_of(spec), name).init_std;
    };
    const std::string layer = "model.layers.2."; // l = 3
    const double near = 1e-15;

    for (const char* name : {"self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"})
        BOOST_CHECK_EQUAL(std_of(layer + name + ".weight"), 0.02);
    BOOST_CHECK_EQUAL(std_of("model.embed_tokens.weight"), 0.02);
    BOOST_CHECK_EQUAL(std_of("lm_head.weight"), 0.02);
    BOOST_CHECK_EQUAL(std_of(layer + "input_layernorm.weight"), 0.0);

    spec.init = Init::ds;
    for (const char* name : {"self_attn.o_proj", "mlp.down_proj"})
        BOOST_CHECK_SMALL(std_of(layer + name + ".weight") - 0.02 / std::sqrt(6.0), near);
    BOOST_CHECK_EQUAL(std_of(layer + "self_attn.v_proj.weight"), 0.02);
    spec.init = Init::scaled;
    for (const char* name : {"self_attn.o_proj", "mlp.down_proj"})
        BOOST_CHECK_SMALL(std_of(layer + name + ".weight") - 0.02 / std::sqrt(8.0), near);

    spec.init = Init::standard;
    spec.arrangement = Arrangement::deepnorm;
    const double b = std::pow(32.0, -0.25); // L = 4
    for (const char* name :
         {"self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
        BOOST_CHECK_SMALL(std_of(layer + name + ".weight") - 0.02 * b, near);
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj"})
        BOOST_CHECK_EQUAL(std_of(layer + name + ".weight"), 0.02);
    BOOST_CHECK_EQUAL(std_of("lm_head.weight"), 0.02);

    spec.init = Init::xavier;
    const double square = std::sqrt(1.0 / static_cast<double>(spec.hidden_size));
    BOOST_CHECK_SMALL(std_of(layer + "self_attn.q_proj.weight") - square, near);
    BOOST_CHECK_SMALL(std_of(layer + "self_attn.o_proj.weight") - square * b, near);
    const double mlp =
        std::sqrt(2.0 / static_cast<double>(spec.hidden_size + spec.intermediate_size));
    for (const char* name : {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
        BOOST_CHECK_SMALL(std_of(layer + name + ".weight") - mlp * b, near);
    BOOST_CHECK_EQUAL(std_of("lm_head.weight"), 0.02);
    BOOST_CHECK_EQUAL(std_of("model.embed_tokens.weight"), 0.02);

    spec.init_embedding_scale = EmbeddingScale::sqrt_d;
    BOOST_CHECK_SMALL(std_of("model.embed_tokens.weight") - 0.02 * std::sqrt(8.0), near);
}

BOOST_AUTO_TEST_CASE(norms_start_at_one_and_at_one_over_sqrt_l_in_the_authors_lns)
{
    const auto start = [](const Variant& variant, const std::string& name) {
        return find(parameters_of(testing::small_model(variant)), name).init_constant;
    };
    const std::string name = "model.layers.2.post_attention_layernorm.weight";
    for (const Variant& variant : testing::all_variants)
        BOOST_CHECK_EQUAL(start(variant, name),
                          variant.lns == LnsVariant::init ? 1.0 / std::sqrt(3.0) : 1.0);
    BOOST_CHECK_EQUAL(start({Arrangement::lns, LnsVariant::init}, "model.norm.weight"), 1.0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
