// Expressions from raw gray faces, in C++ over ONNX Runtime's C API; no other library.
//
//   g++ -std=c++17 -O2 classify.cpp -o classify -I INCLUDE -L LIB -lonnxruntime
//   ./classify model.onnx faces.raw        one line a face: label, probability, logits; exit code 2 for bad input
//
// faces.raw holds one or more faces of the model's own size as bytes, gray, row by row, without a header. Size, normalisation,
// class names and temperature are read from the model's own metadata, as `rarn-edge` wrote them.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

// What follows `"key": ` in the contract up to one of the characters in `end`. Its writer is known; this is no JSON parser.
static std::string field(const std::string& json, const std::string& key, const char* end) {
  const size_t at = json.find("\"" + key + "\": ");
  if (at == std::string::npos) throw std::runtime_error("the model's metadata has no " + key);
  const size_t from = at + key.size() + 4;
  return json.substr(from, json.find_first_of(end, from) - from);
}

static int run(const char* model, const char* faces) {
  std::ifstream file(faces, std::ios::binary);
  std::vector<uint8_t> pixels((std::istreambuf_iterator<char>(file)), {});
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR);
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, model, options);
  Ort::AllocatorWithDefaultOptions allocator;
  const auto metadata = session.GetModelMetadata().LookupCustomMetadataMapAllocated("rarn_edge", allocator);
  if (!metadata) throw std::runtime_error(std::string(model) + " has no rarn-edge metadata");
  const std::string json = metadata.get();
  const int64_t height = std::stol(field(json, "height_px", ",}")), width = std::stol(field(json, "width_px", ",}"));
  const float mean = std::stof(field(json, "mean", "]").substr(1)), std_ = std::stof(field(json, "std", "]").substr(1));
  const float temperature = std::stof(field(json, "temperature", ",}"));
  const std::string classes = field(json, "classes", "]");  // ["angry", "disgust", ...
  if (field(json, "mean", "]").find(',') != std::string::npos) throw std::runtime_error("takes colour; this example is for gray");
  if (field(json, "output", ",}") != "\"logits\"") throw std::runtime_error("answers probabilities; this example is for logits");
  std::vector<std::string> names;
  for (size_t open = classes.find('"'), close; open != std::string::npos; open = classes.find('"', close + 1)) {
    close = classes.find('"', open + 1);
    names.push_back(classes.substr(open + 1, close - open - 1));
  }
  const int64_t count = static_cast<int64_t>(pixels.size()) / (height * width);
  if (count == 0 || count * height * width != static_cast<int64_t>(pixels.size()))
    throw std::runtime_error(std::string(faces) + ": no whole number of faces of " + std::to_string(height) + "x" + std::to_string(width));
  const int64_t shape[] = {count, 1, height, width};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<float> normalised(pixels.size());
  std::transform(pixels.begin(), pixels.end(), normalised.begin(), [&](uint8_t p) { return (p - mean) / std_; });
  const bool takes_bytes = field(json, "input_dtype", ",}") == "\"uint8\"";
  const Ort::Value input = takes_bytes ? Ort::Value::CreateTensor<uint8_t>(memory, pixels.data(), pixels.size(), shape, 4)
                                       : Ort::Value::CreateTensor<float>(memory, normalised.data(), normalised.size(), shape, 4);
  const auto in = session.GetInputNameAllocated(0, allocator), out = session.GetOutputNameAllocated(0, allocator);
  const char *in_name = in.get(), *out_name = out.get();
  const auto answers = session.Run(Ort::RunOptions{}, &in_name, &input, 1, &out_name, 1);
  const float* logits = answers[0].GetTensorData<float>();  // [count, classes]
  for (int64_t face = 0; face < count; ++face, logits += names.size()) {
    const auto best = std::max_element(logits, logits + names.size());
    float sum = 0;
    for (size_t k = 0; k < names.size(); ++k) sum += std::exp((logits[k] - *best) / temperature);
    std::printf("%s %.3f", names[best - logits].c_str(), 1 / sum);
    for (size_t k = 0; k < names.size(); ++k) std::printf(" %.9g", logits[k]);
    std::puts("");
  }
  return 0;
}

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: classify MODEL.onnx FACES.raw");
  return run(argv[1], argv[2]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 2;
}
