// Round trips: what is saved at any number of stages is loaded, to the bit, at any other.
#include "io/checkpoint.hpp"

#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/hdf5_file.hpp"
#include "tests/io/checkpoint_fixture.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>

namespace fs = std::filesystem;
using namespace sluice;
using namespace sluice::testing;

BOOST_AUTO_TEST_SUITE(checkpoint)

BOOST_AUTO_TEST_CASE(names)
{
    BOOST_TEST(dataset_path("parameters", "model.layers.7.self_attn.q_proj.weight") ==
               "/parameters/model/layers/7/self_attn/q_proj/weight");
    BOOST_TEST(dataset_path("optimizer/first_moment", "lm_head.weight") ==
               "/optimizer/first_moment/lm_head/weight");
    BOOST_TEST(checkpoint_folder_name(1000) == "update-00001000");
    BOOST_TEST(checkpoint_folder_name(1234567890) == "update-1234567890");
    BOOST_TEST(partial_folder_name(1000) == ".update-00001000.partial");
}

BOOST_AUTO_TEST_CASE(every_number_of_stages_gives_the_same_tensors)
{
    TemporaryFolder scratch;
    ExampleModel model;
    std::vector<std::string> parameters_digests, state_digests;
    for (int num_stages = 1; num_stages <= 3; ++num_stages) {
        const fs::path folder =
            save(model, scratch.path() / std::to_string(num_stages), num_stages);
        const CheckpointReader reader(folder);
        BOOST_TEST(reader.num_stages() == num_stages);
        BOOST_TEST(reader.verify().empty());
        BOOST_TEST(reader.arrays().size() == model.tensors.size());
        parameters_digests.push_back(reader.parameters_digest());
        state_digests.push_back(reader.state_digest());
        for (const auto& tensor : model.tensors) {
            std::vector<float> values(tensor.values.size(), -1.0f);
            reader.read(tensor.path, view_of(values.data(), tensor.shape));
            BOOST_TEST(std::memcmp(values.data(), tensor.values.data(), values.size() * 4) == 0);
            const auto* info = reader.find(tensor.path);
            BOOST_REQUIRE(info != nullptr);
            BOOST_TEST((info->shape == tensor.shape));
            BOOST_TEST(info->checksum == checksum_of(std::as_bytes(std::span(tensor.values))));
        }
        BOOST_TEST(reader.find("/parameters/absent") == nullptr);
        BOOST_TEST(reader.progress().update == 7);
        BOOST_TEST(reader.progress().samples == 56);
        BOOST_TEST(reader.progress().tokens == 896);
        BOOST_TEST(reader.progress().seed == ~std::uint64_t{0} - 1);
        BOOST_TEST(reader.config_toml() == model.contents(0, 1).config_toml);
        BOOST_TEST(reader.warmup().counters == (std::vector<std::int64_t>{7, 7, 7}),
                   boost::test_tools::per_element());
        BOOST_TEST(reader.warmup().alphas == (std::vector<double>{1.0, 1.0, 7.0 / 9.0}),
                   boost::test_tools::per_element());
    }
    for (int i = 1; i < 3; ++i) {
        BOOST_TEST(parameters_digests[i] == parameters_digests[0]);
        BOOST_TEST(state_digests[i] == state_digests[0]);
    }
}

BOOST_AUTO_TEST_CASE(the_digest_is_that_of_the_documented_lines)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const CheckpointReader reader(save(model, scratch.path(), 2));
    std::string lines;
    for (const auto& info : reader.arrays()) // sorted by path
        if (info.path.starts_with("/parameters/"))
            lines += info.path + " " + info.checksum + "\n";
    BOOST_TEST(reader.parameters_digest() == checksum_of(std::as_bytes(std::span(lines))));

    ExampleModel other;
    other.tensors[0].values[0] = std::nextafter(other.tensors[0].values[0], 10.0f);
    const CheckpointReader changed(save(other, scratch.path() / "other", 2));
    BOOST_TEST(changed.parameters_digest() != reader.parameters_digest());

    ExampleModel moments;
    moments.tensors[1].values[0] += 1.0f; // first moment
    const CheckpointReader moved(save(moments, scratch.path() / "moments", 2));
    BOOST_TEST(moved.parameters_digest() == reader.parameters_digest());
    BOOST_TEST(moved.state_digest() != reader.state_digest());
}

BOOST_AUTO_TEST_CASE(the_folder_holds_what_the_format_says_and_nothing_else)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path folder = save(model, scratch.path(), 2);
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder))
        names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    const std::vector<std::string> expected = {"checkpoint.h5", "manifest.json",
                                               "stage-0000-of-0002.h5", "stage-0001-of-0002.h5"};
    BOOST_TEST(names == expected, boost::test_tools::per_element());
    BOOST_TEST(!fs::exists(scratch.path() / partial_folder_name(7)));

    const Hdf5Reader stage(folder / "stage-0001-of-0002.h5");
    BOOST_TEST(stage.text_attribute("/", "format") == "sluice-checkpoint-stage");
    BOOST_TEST(stage.int64_attribute("/", "stage") == 1);
    BOOST_TEST(stage.int64_attribute("/progress", "update") == 7);
    BOOST_TEST(stage.read_vector<std::int64_t>("/warmup/layer", 10) ==
                   (std::vector<std::int64_t>{1, 2}),
               boost::test_tools::per_element());
    const std::string path = "/parameters/lm_head/weight";
    BOOST_TEST(stage.text_attribute(path, "checksum").size() == 32u);
    BOOST_TEST((stage.dataset(path).extents == std::vector<std::uint64_t>{16, 4}));
}

BOOST_AUTO_TEST_CASE(a_save_is_tried_before_there_is_anything_to_lose)
{
    TemporaryFolder scratch;
    require_writable(scratch.path());
    BOOST_TEST(scratch.num_entries() == 0);
    write_file_durably(scratch / partial_folder_name(0), "in the way");
    BOOST_CHECK_THROW(require_writable(scratch.path()), UserError);
}

BOOST_AUTO_TEST_CASE(saving_the_same_update_again_replaces_it)
{
    TemporaryFolder scratch;
    ExampleModel model;
    save(model, scratch.path(), 1);
    model.tensors[0].values[0] = 42.0f;
    const CheckpointReader reader(save(model, scratch.path(), 2));
    BOOST_TEST(reader.num_stages() == 2);
    std::vector<float> values(64);
    reader.read(model.tensors[0].path, view_of(values.data(), {16, 4}));
    BOOST_TEST(values[0] == 42.0f);
    BOOST_TEST(!fs::exists(scratch.path() / partial_folder_name(7)));
}

BOOST_AUTO_TEST_CASE(all_element_types)
{
    TemporaryFolder scratch;
    std::vector<double> doubles = {1.0 / 3.0, -0.0};
    std::vector<std::int32_t> integers = {-7, 8, 9};
    ExampleModel model;
    StageContents contents = model.contents(0, 1);
    contents.arrays = {{"/optimizer/d", view_of(doubles.data(), {2})},
                       {"/optimizer/i", view_of(integers.data(), {3, 1})}};
    const fs::path partial = scratch.path() / partial_folder_name(7);
    const fs::path folder = scratch.path() / checkpoint_folder_name(7);
    finish_checkpoint(partial, folder, {write_stage_file(partial, 0, 1, contents)});
    const CheckpointReader reader(folder);
    BOOST_TEST(reader.verify().empty());
    std::vector<double> read_doubles(2);
    std::vector<std::int32_t> read_integers(3);
    reader.read("/optimizer/d", view_of(read_doubles.data(), {2}));
    reader.read("/optimizer/i", view_of(read_integers.data(), {3, 1}));
    BOOST_TEST(std::memcmp(read_doubles.data(), doubles.data(), 16) == 0);
    BOOST_TEST(read_integers == integers, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(another_models_tensors_are_refused_by_name)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const CheckpointReader reader(save(model, scratch.path(), 2));
    std::vector<float> values(64);
    std::vector<double> doubles(64);
    const std::string path = "/parameters/lm_head/weight";
    BOOST_TEST(contains(message_of([&] {
                            reader.read(path, view_of(values.data(), {4, 16}));
                        }),
                        "stage-0001-of-0002.h5: " + path +
                            ": has f32[16, 4], the model needs f32[4, 16]"));
    BOOST_TEST(contains(message_of([&] {
                            reader.read(path, view_of(doubles.data(), {16, 4}));
                        }),
                        "needs f64[16, 4]"));
    BOOST_TEST(
        contains(message_of([&] { reader.read("/parameters/x", view_of(values.data(), {4})); }),
                 "no tensor /parameters/x"));
}

// 64 KB is HDF5's limit for attributes: nothing that grows with depth may be one.
BOOST_AUTO_TEST_CASE(a_deep_model)
{
    TemporaryFolder scratch;
    ExampleModel model(300);
    const fs::path folder = save(model, scratch.path(), 2);
    const CheckpointReader reader(folder);
    std::uintmax_t blocks = 0, expected = 0;
    BOOST_TEST(reader.verify([&] { ++blocks; }).empty());
    for (const auto& file : fs::directory_iterator(folder))
        if (file.path().filename().string().starts_with("stage"))
            expected += (file.file_size() + (1u << 20) - 1) >> 20;
    BOOST_TEST(blocks == expected);
    BOOST_TEST(reader.warmup().counters.size() == 300u);
    BOOST_TEST(reader.arrays().size() == 2709u);
}

BOOST_AUTO_TEST_CASE(what_anomalies_left_behind_comes_back_and_is_absent_without)
{
    TemporaryFolder scratch;
    ExampleModel model(3, 7), plain(3, 8);
    const fs::path partial = scratch.path() / partial_folder_name(7);
    std::vector<ManifestEntry> entries;
    CheckpointProgress progress;
    for (int stage = 0; stage < 2; ++stage) {
        StageContents contents = model.contents(stage, 2);
        contents.progress.skipped.skip_updates(3, 5);
        contents.progress.skipped.skip_updates(6, 6);
        contents.progress.num_rewinds = 2;
        contents.progress.recent_losses = {2.5, 1.0 / 3.0};
        progress = contents.progress;
        entries.push_back(write_stage_file(partial, stage, 2, contents));
    }
    const fs::path folder = scratch.path() / checkpoint_folder_name(7);
    finish_checkpoint(partial, folder, entries);
    const CheckpointReader reader(folder);
    BOOST_TEST(reader.progress().skipped.text() == "3-5, 9");
    BOOST_TEST((reader.progress().skipped == progress.skipped));
    BOOST_TEST(reader.progress().num_rewinds == 2);
    BOOST_TEST(reader.progress().recent_losses == progress.recent_losses,
               boost::test_tools::per_element());
    BOOST_TEST(reader.verify().empty());

    const CheckpointReader without(save(plain, scratch.path(), 2));
    BOOST_TEST(without.progress().skipped.empty());
    BOOST_TEST(without.progress().num_rewinds == 0);
    BOOST_TEST(without.progress().recent_losses.empty());
    const Hdf5Reader index(without.path() / "checkpoint.h5");
    BOOST_TEST(!index.exists("/progress/skipped_batches"));
    BOOST_TEST(!index.attribute("/progress", "num_rewinds").has_value());
}

BOOST_AUTO_TEST_CASE(what_computed_it_comes_back_and_older_checkpoints_have_none)
{
    TemporaryFolder scratch;
    ExampleModel model;
    StageContents contents = model.contents(0, 1);
    contents.progress.program = "sluice 0.1.0 (4abcc097d0e1, changed)";
    contents.progress.arithmetic = "oneDNN 2.6.3 (AVX2), glibc 2.36 | oneDNN 2.6.3 (AVX-512)";
    const fs::path partial = scratch.path() / partial_folder_name(7);
    const fs::path folder = scratch.path() / checkpoint_folder_name(7);
    finish_checkpoint(partial, folder, {write_stage_file(partial, 0, 1, contents)});
    const CheckpointReader reader(folder);
    BOOST_TEST(reader.progress().program == contents.progress.program);
    BOOST_TEST(reader.progress().arithmetic == contents.progress.arithmetic);
    const Hdf5Reader stage(folder / "stage-0000-of-0001.h5");
    BOOST_TEST(stage.text_attribute("/progress", "arithmetic") == contents.progress.arithmetic);

    TemporaryFolder older;
    const CheckpointReader without(save(model, older.path(), 1));
    BOOST_TEST(without.progress().program.empty());
    BOOST_TEST(without.progress().arithmetic.empty());
    BOOST_TEST(!Hdf5Reader(without.path() / "checkpoint.h5")
                    .attribute("/progress", "arithmetic")
                    .has_value());
}

BOOST_AUTO_TEST_SUITE_END()
