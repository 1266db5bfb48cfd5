// Every word of the page, in both languages. A key that is missing in one is an error (tests).

export const STRINGS = {
  en: {
    name: "English",
    skip: "Skip to the main content",
    where: "",
    whereServer: "The image is processed in this server's memory and is not stored.",
    whereBrowser: "All processing happens in this browser. The image does not leave this device.",
    model: "Model",
    notice: "Research use only. This is not a medical device and it gives no medical advice.",
    leaky: "LEAKY: images of the same patient or lesion were in both the training and the test set. The reported performance is too high.",
    synthetic: "SYNTHETIC: this model was trained on drawn pictures only. It has learnt nothing about real skin.",
    inTitle: "Image",
    drop: "Drop an image here, or paste one (Ctrl+V).",
    choose: "Choose a file",
    photograph: "Take a photograph",
    caseTitle: "Clinical information",
    caseNote: "This model also uses this information. Leave a field empty if the value is unknown.",
    age: "Age in years",
    sex: "Sex",
    site: "Site",
    sexes: { female: "female", male: "male" },
    unknown: "unknown",
    token: "Access token of this server",
    ok: "OK",
    mapClass: "Heat map for",
    mapStrength: "Strength",
    mapNote: "Shows the regions that the network counted as evidence for this class. The map does not outline the lesion, and it does not prove that the network looked at the right features.",
    outTitle: "Result",
    waiting: "No image yet.",
    loading: "Loading the model …",
    ready: "Ready.",
    working: "Working …",
    done: "Done.",
    failed: "No result: {0}",
    busy: "The server is busy. Try again in {0} s.",
    noImage: "This is not an image.",
    ood: "This image is unlike the training images (distance {0} times the limit). Do not rely on the results below.",
    positive: "Positive: the probability of {1} is {0} %, which reaches the threshold of {2} %.",
    negative: "Negative: the probability of {1} is {0} %, which is below the threshold of {2} %.",
    abstainedOod: "No decision: this image is unlike the training images.",
    abstainedSet: "No decision: neither the positive nor the negative classes can be ruled out.",
    noPoint: "No decision: this model has no operating point.",
    point: "Operating point: {0}, chosen on the {1} set. On that set, sensitivity was {2} and specificity {3}.",
    policies: {
      sensitivity_bound: "sensitivity of at least {0} % with 95 % confidence",
      sensitivity: "observed sensitivity of {0} %",
      specificity: "observed specificity of {0} %",
      youden: "maximum of sensitivity plus specificity (Youden index)",
      cost: "minimum expected cost",
      fixed: "fixed threshold",
    },
    parts: { valid: "validation", calib: "calibration", train: "training" },
    measure: "{0} % (95 % confidence interval {1} to {2})",
    measureAlone: "{0} % (too few data for an interval)",
    undefinedMeasure: "not available",
    probabilities: "Probabilities",
    prior: "These probabilities assume that the classes are as frequent as in the data set “{0}”.",
    words: ["very unlikely", "unlikely", "possible", "about even", "likely", "very likely"],
    setTitle: "Prediction set: classes that cannot be ruled out",
    set: "With {0} confidence: {1}",
    setEmpty: "none (the image does not fit any class well)",
    noSet: "This model has no conformal prediction sets.",
    similarTitle: "Similar training images",
    similar: "The nearest training images are: {0}",
    similarOne: "{0} × {1}",
    similarNote: "Similar as the network measures it. They may not look similar to you.",
    noSimilar: "This model stores no training embeddings.",
    notTitle: "Limitations",
    not: [
      "This is not a diagnosis. Dermoscopy alone does not make one: a single image shows neither the history, nor changes over time, nor the rest of the skin.",
      "The model has not been tested on all skin types, ages and devices. Its performance is usually lower in a new setting.",
      "A negative result does not rule out disease. If you are worried, see a doctor.",
    ],
    card: "Model card",
    picture: "The uploaded image",
    list: ", ",
    classes: {
      mel: "melanoma", nv: "melanocytic nevus", bcc: "basal cell carcinoma",
      akiec: "actinic keratosis / Bowen's disease", bkl: "benign keratosis",
      df: "dermatofibroma", vasc: "vascular lesion", nevus: "nevus", melanoma: "melanoma",
      seborrheic_keratosis: "seborrheic keratosis", benign: "benign", malignant: "malignant",
    },
  },
  zh: {
    name: "简体中文",
    skip: "跳到主要内容",
    where: "",
    whereServer: "图像仅在本服务器的内存中处理，不会保存。",
    whereBrowser: "所有计算均在此浏览器中完成，图像不会离开本设备。",
    model: "模型",
    notice: "仅供研究使用。本工具不是医疗器械，不提供医疗建议。",
    leaky: "数据泄漏：同一患者或病灶的图像同时出现在训练集和测试集中，所报告的性能偏乐观。",
    synthetic: "合成数据：此模型仅用绘制的图片训练，未学习过真实皮肤图像。",
    inTitle: "图像",
    drop: "将图像拖放到此处，或粘贴（Ctrl+V）。",
    choose: "选择文件",
    photograph: "拍照",
    caseTitle: "临床信息",
    caseNote: "此模型也使用这些信息。未知的项目请留空。",
    age: "年龄（岁）",
    sex: "性别",
    site: "部位",
    sexes: { female: "女", male: "男" },
    unknown: "未知",
    token: "本服务器的访问令牌",
    ok: "确定",
    mapClass: "热力图类别",
    mapStrength: "强度",
    mapNote: "显示网络作为该类别依据的区域。热力图不是病灶轮廓，也不能证明网络关注了正确的特征。",
    outTitle: "结果",
    waiting: "尚未选择图像。",
    loading: "正在加载模型……",
    ready: "就绪。",
    working: "正在计算……",
    done: "完成。",
    failed: "未能得到结果：{0}",
    busy: "服务器繁忙，请在 {0} 秒后重试。",
    noImage: "这不是图像文件。",
    ood: "该图像与训练图像不相似（距离为阈值的 {0} 倍）。以下结果不可靠。",
    positive: "阳性：{1}的概率为 {0} %，达到阈值 {2} %。",
    negative: "阴性：{1}的概率为 {0} %，低于阈值 {2} %。",
    abstainedOod: "不作判定：该图像与训练图像不相似。",
    abstainedSet: "不作判定：阳性类别和阴性类别均不能排除。",
    noPoint: "不作判定：此模型未设定工作点。",
    point: "工作点：{0}，在{1}集上选定。在该集上，灵敏度为 {2}，特异度为 {3}。",
    policies: {
      sensitivity_bound: "灵敏度不低于 {0} %（95 % 置信度）",
      sensitivity: "观测灵敏度达到 {0} %",
      specificity: "观测特异度达到 {0} %",
      youden: "灵敏度与特异度之和最大（约登指数）",
      cost: "期望代价最小",
      fixed: "固定阈值",
    },
    parts: { valid: "验证", calib: "校准", train: "训练" },
    measure: "{0} %（95 % 置信区间 {1} 至 {2}）",
    measureAlone: "{0} %（数据太少，无法估计区间）",
    undefinedMeasure: "无数据",
    probabilities: "概率",
    prior: "这些概率以各类别的比例与数据集“{0}”相同为前提。",
    words: ["极不可能", "不太可能", "有可能", "可能性约一半", "很可能", "极有可能"],
    setTitle: "预测集：不能排除的类别",
    set: "置信度 {0}：{1}",
    setEmpty: "无（该图像与任何类别都不相符）",
    noSet: "此模型没有共形预测集。",
    similarTitle: "相似的训练图像",
    similar: "最相似的训练图像：{0}",
    similarOne: "{0} × {1}",
    similarNote: "相似程度由网络计算，与人眼判断未必一致。",
    noSimilar: "此模型未保存训练图像的特征向量。",
    notTitle: "使用限制",
    not: [
      "本结果不是诊断。仅凭皮肤镜图像不能作出诊断：单张图像不能反映病史、病情变化和其余皮肤的情况。",
      "模型未在所有肤色、年龄和设备上验证，用于新的环境时性能往往下降。",
      "阴性结果不能排除疾病。如有疑虑，请就医。",
    ],
    card: "模型卡",
    picture: "上传的图像",
    list: "、",
    classes: {
      mel: "黑色素瘤", nv: "黑素细胞痣", bcc: "基底细胞癌", akiec: "光化性角化病 / 鲍恩病",
      bkl: "良性角化性病变", df: "皮肤纤维瘤", vasc: "血管性病变", nevus: "色素痣",
      melanoma: "黑色素瘤", seborrheic_keratosis: "脂溢性角化病", benign: "良性",
      malignant: "恶性",
    },
  },
};

export const LANGUAGES = Object.keys(STRINGS);

// A number and its sign stay on one line.
export function fill(template, ...values) {
  const filled = template.replace(/\{(\d)\}/g, (_, n) => values[Number(n)]);
  return filled.replace(/ %/g, "\u00a0%").replace(/ × /g, "\u00a0×\u00a0");
}

export function pointWords(words, point) {
  const named = Object.hasOwn(words.policies, point.policy) ? words.policies[point.policy] : point.policy;
  return fill(named, point.target === null ? "" : (100 * point.target).toFixed(0));
}

export function partWords(words, part) {
  return Object.hasOwn(words.parts, part) ? words.parts[part] : part;
}

export function className(words, name) {
  return Object.hasOwn(words.classes, name) ? `${words.classes[name]} (${name})` : name;
}

// 0.034 -> "3.4", 0.00002 -> "< 0.1": never a rounded 0 or 100 for what is neither.
export function percent(p) {
  if (p > 0 && p < 0.001) return "< 0.1";
  if (p < 1 && p > 0.999) return "> 99.9";
  return (100 * p).toFixed(1);
}

export function word(words, p) {
  const limits = [0.02, 0.2, 0.4, 0.6, 0.9];
  return words.words[limits.filter((limit) => p >= limit).length];
}
