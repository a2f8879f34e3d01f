#include "tests/io/checkpoint_fixture.hpp"

#include "core/random.hpp"

#include <algorithm>

namespace sluice::testing {

namespace fs = std::filesystem;

ExampleModel::ExampleModel(std::int64_t num_layers_, std::int64_t update_)
    : num_layers(num_layers_), update(update_)
{
    const auto add = [&](const std::string& name, std::int64_t layer, const Shape& shape) {
        for (const char* group :
             {"parameters", "optimizer/first_moment", "optimizer/second_moment"})
            tensors.push_back({dataset_path(group, name), layer, shape, {}});
    };
    add("model.embed_tokens.weight", -1, {16, 4});
    for (std::int64_t layer = 0; layer < num_layers; ++layer) {
        const std::string prefix = "model.layers." + std::to_string(layer) + ".";
        add(prefix + "self_attn.q_proj.weight", layer, {4, 4});
        add(prefix + "mlp.up_proj.weight", layer, {10, 4});
        add(prefix + "input_layernorm.weight", layer, {4});
    }
    add("model.norm.weight", num_layers, {4});
    add("lm_head.weight", num_layers, {16, 4});
    for (Tensor& tensor : tensors) {
        const RandomStream stream(static_cast<std::uint64_t>(update), tensor.path);
        tensor.values.resize(static_cast<std::size_t>(tensor.shape.num_elements()));
        for (std::size_t i = 0; i < tensor.values.size(); ++i)
            tensor.values[i] = static_cast<float>(stream.normal(i));
    }
}

StageContents ExampleModel::contents(int stage, int num_stages)
{
    const std::int64_t begin = stage * num_layers / num_stages;
    const std::int64_t end = (stage + 1) * num_layers / num_stages;
    StageContents contents{.arrays = {},
                           .warmup = {{.first_layer = begin, .counters = {}, .alphas = {}}},
                           .progress = {.update = update,
                                        .samples = update * 8,
                                        .tokens = update * 8 * 16,
                                        .seed = ~std::uint64_t{0} - 1},
                           .config_toml = "[run]\nseed = 1 # a comment with \"quotes\" and ü\n"};
    for (std::int64_t layer = begin; layer < end; ++layer) {
        contents.warmup[0].counters.push_back(update);
        contents.warmup[0].alphas.push_back(std::min(1.0, update / (3.0 * (layer + 1))));
    }
    for (Tensor& tensor : tensors) {
        const bool mine = (tensor.layer >= begin && tensor.layer < end) ||
                          (tensor.layer < 0 && stage == 0) ||
                          (tensor.layer == num_layers && stage == num_stages - 1);
        if (mine)
            contents.arrays.push_back({tensor.path, view_of(tensor.values.data(), tensor.shape)});
    }
    return contents;
}

fs::path save(ExampleModel& model, const fs::path& checkpoints, int num_stages)
{
    const fs::path partial = checkpoints / partial_folder_name(model.update);
    fs::create_directories(checkpoints);
    const fs::path final_folder = checkpoints / checkpoint_folder_name(model.update);
    std::vector<ManifestEntry> entries;
    for (int stage = 0; stage < num_stages; ++stage)
        entries.push_back(
            write_stage_file(partial, stage, num_stages, model.contents(stage, num_stages)));
    finish_checkpoint(partial, final_folder, entries);
    return final_folder;
}

std::string first_problem(const fs::path& folder)
{
    std::string problem;
    const std::string thrown = message_of([&] {
        const CheckpointReader reader(folder);
        const auto problems = reader.verify();
        if (!problems.empty()) {
            problem = problems.front();
            return;
        }
        reader.progress();
        for (const auto& info : reader.arrays()) {
            std::vector<float> values(static_cast<std::size_t>(info.shape.num_elements()));
            reader.read(info.path, view_of(values.data(), info.shape));
        }
    });
    return thrown != "nothing thrown" ? thrown : problem;
}

} // namespace sluice::testing
