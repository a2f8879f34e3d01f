#include "io/checkpoint_sections.hpp"

namespace sluice {

namespace {

template <class T>
void write_list(Hdf5Writer& file, std::string_view path, Hdf5Type type,
                const std::vector<T>& values)
{
    const std::uint64_t count = values.size();
    file.write_dataset(path, type, {&count, 1}, std::as_bytes(std::span(values)));
}

/// What anomalies left behind is there only where there is something.
void write_anomalies(Hdf5Writer& file, const CheckpointProgress& progress)
{
    if (progress.num_rewinds > 0) {
        file.set_attribute("/progress", "num_rewinds", progress.num_rewinds);
        write_numbers(file, "/progress/skipped_batches", progress.skipped.flat());
    }
    if (!progress.recent_losses.empty())
        write_list(file, "/progress/recent_losses", Hdf5Type::f64, progress.recent_losses);
}

} // namespace

void write_progress(Hdf5Writer& file, const CheckpointProgress& progress, const std::string& config)
{
    file.create_group("/progress");
    file.set_attribute("/progress", "update", progress.update);
    file.set_attribute("/progress", "samples", progress.samples);
    file.set_attribute("/progress", "tokens", progress.tokens);
    file.set_attribute("/progress", "seed", progress.seed);
    if (!progress.program.empty())
        file.set_attribute("/progress", "program", progress.program);
    if (!progress.arithmetic.empty())
        file.set_attribute("/progress", "arithmetic", progress.arithmetic);
    write_anomalies(file, progress);
    file.write_text("/config", config);
}

void write_gates(Hdf5Writer& file, const std::vector<std::int64_t>& counters,
                 const std::vector<double>& alphas)
{
    write_list(file, "/warmup/counter", Hdf5Type::i64, counters);
    write_list(file, "/warmup/alpha", Hdf5Type::f64, alphas);
}

void write_numbers(Hdf5Writer& file, std::string_view path,
                   const std::vector<std::int64_t>& numbers)
{
    write_list(file, path, Hdf5Type::i64, numbers);
}

HashedDataset write_tensor(Hdf5Writer& file, std::string_view path, const TensorView& tensor)
{
    std::vector<std::uint64_t> extents;
    for (int axis = 0; axis < tensor.shape.rank(); ++axis)
        extents.push_back(static_cast<std::uint64_t>(tensor.shape[axis]));
    return file.write_hashed_dataset(
        path, hdf5_type_of(tensor.dtype), extents,
        {static_cast<const std::byte*>(tensor.data), tensor.num_bytes()});
}

} // namespace sluice
