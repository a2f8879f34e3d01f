#include "src/inspect/checkpoint_diff.hpp"

#include "src/inspect/checkpoint_summary.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

struct TensorDifference {
    std::string path;
    std::int64_t num_different = 0, num_elements = 0;
    double largest = 0.0; ///< absolute; infinite when one side is not a number
    std::int64_t at = 0;  ///< flat index of the largest
};

template <class T>
TensorDifference compare(const std::vector<std::byte>& left, const std::vector<std::byte>& right)
{
    TensorDifference difference;
    difference.num_elements = static_cast<std::int64_t>(left.size() / sizeof(T));
    for (std::int64_t i = 0; i < difference.num_elements; ++i) {
        T a, b;
        std::memcpy(&a, left.data() + i * sizeof(T), sizeof(T));
        std::memcpy(&b, right.data() + i * sizeof(T), sizeof(T));
        if (std::memcmp(&a, &b, sizeof(T)) == 0)
            continue;
        ++difference.num_different;
        double size = std::abs(static_cast<double>(a) - static_cast<double>(b));
        if (std::isnan(size))
            size = std::numeric_limits<double>::infinity();
        if (difference.num_different == 1 || size > difference.largest) {
            difference.largest = size;
            difference.at = i;
        }
    }
    return difference;
}

struct Comparison {
    std::vector<std::string> structural; ///< shapes, missing tensors, progress, counters
    std::vector<TensorDifference> tensors;
    bool identical() const { return structural.empty() && tensors.empty(); }
};

void compare_state(const CheckpointReader& left, const CheckpointReader& right, Comparison& result)
{
    const auto number = [&](const char* name, std::int64_t a, std::int64_t b) {
        if (a != b)
            result.structural.push_back(fmt::format("{}: {} and {}", name, a, b));
    };
    number("update", left.progress().update, right.progress().update);
    number("samples", left.progress().samples, right.progress().samples);
    number("tokens", left.progress().tokens, right.progress().tokens);
    const auto skipped = [](const CheckpointReader& reader) {
        const SkippedBatches& batches = reader.progress().skipped;
        return batches.empty() ? "none" : batches.text();
    };
    if (!(left.progress().skipped == right.progress().skipped))
        result.structural.push_back(
            fmt::format("skipped batches: {} and {}", skipped(left), skipped(right)));
    const auto& a = left.warmup().counters;
    const auto& b = right.warmup().counters;
    number("layers with gates", static_cast<std::int64_t>(a.size()),
           static_cast<std::int64_t>(b.size()));
    for (std::size_t layer = 0; layer < std::min(a.size(), b.size()); ++layer)
        number(fmt::format("gate counter of layer {}", layer).c_str(), a[layer], b[layer]);
}

Comparison compare_all(const CheckpointReader& left, const CheckpointReader& right)
{
    Comparison result;
    compare_state(left, right, result);
    for (const auto& info : right.arrays())
        if (left.find(info.path) == nullptr)
            result.structural.push_back(info.path + ": only in the second");
    for (const auto& info : left.arrays()) {
        const auto* other = right.find(info.path);
        if (other == nullptr) {
            result.structural.push_back(info.path + ": only in the first");
        } else if (info.dtype != other->dtype || !(info.shape == other->shape)) {
            result.structural.push_back(fmt::format("{}: {} {} and {} {}", info.path,
                                                    name_of(info.dtype), info.shape.text(),
                                                    name_of(other->dtype), other->shape.text()));
        } else {
            const auto a = read_array(left, info);
            const auto b = read_array(right, *other);
            auto difference =
                info.dtype == DType::f64 ? compare<double>(a, b) : compare<float>(a, b);
            difference.path = info.path;
            if (difference.num_different > 0)
                result.tensors.push_back(difference);
        }
    }
    return result;
}

} // namespace

int print_diff(const CheckpointReader& left, const CheckpointReader& right, bool json)
{
    const Comparison result = compare_all(left, right);
    if (json) {
        nlohmann::ordered_json out{{"identical", result.identical()},
                                   {"differences", result.structural},
                                   {"tensors", nlohmann::json::array()}};
        for (const auto& tensor : result.tensors)
            out["tensors"].push_back({{"path", tensor.path},
                                      {"num_different", tensor.num_different},
                                      {"num_elements", tensor.num_elements},
                                      {"largest", tensor.largest},
                                      {"at", tensor.at}});
        std::cout << out.dump() << '\n';
    } else if (result.identical()) {
        fmt::print("identical to the bit: {} tensors, update {}, parameters digest {}\n",
                   left.arrays().size(), left.progress().update, left.parameters_digest());
    } else {
        for (const std::string& line : result.structural)
            fmt::print("differs: {}\n", line);
        if (!result.tensors.empty()) {
            const auto largest = std::max_element(
                result.tensors.begin(), result.tensors.end(),
                [](const auto& a, const auto& b) { return a.largest < b.largest; });
            fmt::print("{} of {} tensors differ; first: {} ({} of {} elements)\n",
                       result.tensors.size(), left.arrays().size(), result.tensors.front().path,
                       result.tensors.front().num_different, result.tensors.front().num_elements);
            fmt::print("largest difference: {:.9g} in {} at element {}\n", largest->largest,
                       largest->path, largest->at);
        }
    }
    return result.identical() ? 0 : 1;
}

} // namespace sluice
